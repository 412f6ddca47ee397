{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- Once per set of days, not once per version: where all days before a version were settled (macros/settled.sql), what it counts changed
-- last when a day entered or left the 90 days. Sets and categories go by numbers (text keys cost most of the time), and a category with
-- its events by one number that sorts as both: events * 2^20 - category_number.
{% set most = 1048576 %}
with

horizon as (
    select * from {{ ref('int_horizon') }}
),

versions as (
    select user_id, features_at, created_at, events_90d
    from (
        {{ versions_to_build(ref('int_user_windows'), 'user_id') }}
    ) as windows
    where events_90d > 0
),

items as (
    select * from {{ ref('int_item_versions') }}
    where top_category is not null
),

categories as (
    select top_category, row_number() over (order by {{ by_bytes('top_category') }}) as category_number
    from (select distinct top_category from items) as named
),

events as (
    select * from {{ ref('int_event_versions') }}
    where user_id in (select user_id from versions)
),

days as (
    select
        events.user_id,
        events.occurred_date,
        categories.category_number,
        greatest(events.known_at, items.known_at) as known_at,
        least(events.in_force_until, items.in_force_until) as in_force_until,
        count(*) as events
    from events
    inner join items
        on
            events.item_id = items.item_id
            and events.known_at < items.in_force_until
            and items.known_at < events.in_force_until
    inner join categories on items.top_category = categories.top_category
    group by 1, 2, 3, 4, 5
),

differing as (
    {{ versions_of_another_history('versions', 'days', 'occurred_date') }}
),

changes_and_questions as (
    select distinct user_id, occurred_date + 1 as at_date, occurred_date + 1 as change_date, false as is_question from days
    union all
    select distinct user_id, occurred_date + 91, occurred_date + 91, false from days
    union all
    select distinct user_id, cast(features_at as date), cast(null as date), true from versions
),

last_changes as (
    select
        user_id,
        cast(at_date as timestamp) as features_at,
        is_question,
        max(change_date) over (partition by user_id order by at_date) as change_date
    from changes_and_questions
),

versions_of_sets as (
    select
        versions.*,
        case when differing.user_id is null then last_changes.change_date else cast(versions.features_at as date) end as until_date,
        case when differing.user_id is null then horizon.horizon_at else versions.created_at end as as_known_at
    from versions
    cross join horizon
    inner join last_changes
        on versions.user_id = last_changes.user_id and versions.features_at = last_changes.features_at and last_changes.is_question
    left join differing
        on {{ same_version('versions', 'differing', 'user_id') }}
),

sets as (
    select *, row_number() over () as set_number
    from (select distinct user_id, until_date, as_known_at from versions_of_sets) as distinct_sets
),

counts as (
    select
        sets.set_number,
        days.category_number,
        cast(sum(days.events) * {{ most }} - days.category_number as bigint) as count_and_category
    from sets
    inner join days
        on
            sets.user_id = days.user_id
            and sets.until_date > days.occurred_date
            and days.occurred_date >= sets.until_date - 90
            and {{ in_force('days', 'sets.as_known_at') }}
    group by 1, 2
),

largest as (
    select set_number, {{ largest('count_and_category', 5) }} as counts_and_categories
    from counts
    group by 1
),

names as (
    select {{ list_of('top_category', 'varchar', 'category_number') }} as names
    from categories
),

ranked as (
    select
        largest.set_number,
        {{ each('largest.counts_and_categories', 'names.names[' ~ most ~ ' - item % ' ~ most ~ ']') }} as top_categories,
        {{ each('largest.counts_and_categories', '(item - item % ' ~ most ~ ') / ' ~ most ~ ' + 1') }} as events
    from largest
    cross join names
),

final as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        ranked.top_categories,
        {{ each('ranked.events', 'cast(item as double precision) / versions.events_90d') }} as top_category_shares
    from versions_of_sets as versions
    inner join sets
        on
            versions.user_id = sets.user_id
            and versions.until_date = sets.until_date
            and versions.as_known_at = sets.as_known_at
    inner join ranked on sets.set_number = ranked.set_number
)

select * from final
