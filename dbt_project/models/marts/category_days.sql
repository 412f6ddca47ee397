{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_changed_days() }}') }}

-- An event counts under the category its item had when the event became known, so that a category renamed later does not rewrite the past.
with

versions as (
    select *
    from {{ ref('int_event_versions') }}
    where
        {{ in_part('occurred_date') }}
    {% if is_incremental() %}
        and occurred_date not in (select cast(day_at as date) from {{ this }})
    {% endif %}
),

days as (
    select
        occurred_date,
        max(
            case when in_force_until < cast('infinity' as timestamp) then in_force_until else known_at end
        ) as known_at
    from versions
    group by 1
),

items as (
    select * from {{ ref('int_item_versions') }}
),

events as (
    select versions.*, coalesce(items.top_category, '') as top_category
    from versions
    left join items
        on versions.item_id = items.item_id and {{ in_force('items', 'versions.known_at') }}
    where versions.in_force_until = cast('infinity' as timestamp)
),

final as (
    select
        cast(events.occurred_date as timestamp) as day_at,
        events.top_category,
        days.known_at,
        count(*) filter (where events.event_type = 'view') as views,
        count(*) filter (where events.event_type = 'favourite') as favourites,
        count(*) filter (where events.event_type = 'cart') as carts,
        count(*) filter (where events.event_type = 'purchase') as purchases,
        count(*) filter (where events.event_type = 'return') as returns,
        count(*) filter (where events.user_id is null) as guest_events,
        count(distinct events.user_id) filter (where events.event_type = 'view') as viewers,
        count(distinct events.user_id) filter (where events.event_type = 'cart') as carters,
        count(distinct events.user_id) filter (where events.event_type = 'purchase') as buyers,
        count(*) filter (where events.event_type = 'purchase' and events.quantity is null) as quantities_imputed,
        cast(coalesce(sum(events.spend), 0) as double precision) as spend
    from events
    inner join days on events.occurred_date = days.occurred_date
    group by 1, 2, 3
)

select * from final
