{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- versions go by numbers here: every one meets all days of 90, and text keys cost most of the time
with

versions as (
    select user_id, features_at, created_at, events_90d, row_number() over () as version_number
    from (
        {{ versions_to_build(ref('int_user_windows')) }}
    ) as windows
    where events_90d > 0
),

items as (
    select * from {{ ref('int_item_versions') }}
    where top_category is not null
),

events as (
    select * from {{ ref('int_event_versions') }}
    where user_id in (select user_id from versions)
),

days as (
    select
        events.user_id,
        events.occurred_date,
        items.top_category,
        greatest(events.known_at, items.known_at) as known_at,
        least(events.in_force_until, items.in_force_until) as in_force_until,
        count(*) as events
    from events
    inner join items
        on
            events.item_id = items.item_id
            and events.known_at < items.in_force_until
            and items.known_at < events.in_force_until
    group by 1, 2, 3, 4, 5
),

categories as (
    select
        versions.version_number,
        days.top_category,
        sum(days.events) as events,
        cast(sum(days.events) as double precision) / max(versions.events_90d) as share
    from versions
    inner join days
        on
            versions.user_id = days.user_id
            and versions.features_at > days.occurred_date
            and days.occurred_date >= cast(versions.features_at as date) - 90
            and {{ in_force('days', 'versions.created_at') }}
    group by 1, 2
),

ranked as (
    select
        version_number,
        {{ list_of('top_category', 'varchar', 'events desc, ' ~ by_bytes('top_category')) }} as top_categories,
        {{ list_of('share', 'double precision', 'events desc, ' ~ by_bytes('top_category')) }} as shares
    from categories
    group by 1
),

final as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        ranked.top_categories[1:5] as top_categories,
        ranked.shares[1:5] as top_category_shares
    from versions
    inner join ranked on versions.version_number = ranked.version_number
)

select * from final
