{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

versions as (
    {{ versions_to_build(ref('int_user_windows')) }}
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
        versions.user_id,
        versions.features_at,
        versions.created_at,
        versions.events_90d,
        days.top_category,
        sum(days.events) as events
    from versions
    inner join days
        on
            versions.user_id = days.user_id
            and versions.features_at > days.occurred_date
            and days.occurred_date >= cast(versions.features_at as date) - 90
            and {{ in_force('days', 'versions.created_at') }}
    group by 1, 2, 3, 4, 5
),

ranked as (
    select
        *,
        row_number() over (partition by user_id, features_at, created_at order by events desc, top_category) as place
    from categories
),

final as (
    select
        user_id,
        features_at,
        created_at,
        {{ list_of('top_category', 'varchar', 'place') }} as top_categories,
        {{ list_of('cast(events as double precision) / events_90d', 'double precision', 'place') }} as top_category_shares
    from ranked
    where place <= 5
    group by 1, 2, 3
)

select * from final
