{{ config(materialized='view') }}

-- The category and the price are those known when the event became known; of an item not yet known then, the first ones known after. What
-- a user saw stays what it was, whatever the shop makes of the item later.
with

events as (
    select * from {{ ref('int_event_versions') }}
    where user_id is not null
),

items as (
    select
        item_id,
        top_category,
        price,
        known_at,
        in_force_until,
        case
            when row_number() over (partition by item_id order by known_at) = 1 then cast('-infinity' as timestamp)
            else known_at
        end as since
    from {{ ref('int_item_versions') }}
),

seen as (
    select
        events.user_id,
        events.event_id,
        events.item_id,
        events.event_type,
        events.occurred_at,
        events.occurred_date,
        events.unit_price,
        events.known_at,
        events.in_force_until,
        items.top_category,
        items.price as list_price,
        coalesce(items.known_at, events.known_at) as item_known_at
    from events
    left join items
        on
            events.item_id = items.item_id
            and items.since <= events.known_at
            and items.in_force_until > events.known_at
),

final as (
    select
        user_id,
        event_id,
        item_id,
        event_type,
        occurred_at,
        occurred_date,
        coalesce(unit_price, list_price, 0) as price,
        coalesce(top_category, '') as top_category,
        greatest(known_at, item_known_at) as known_at,
        in_force_until
    from seen
    where item_known_at < in_force_until
    union all
    select
        user_id,
        event_id,
        item_id,
        event_type,
        occurred_at,
        occurred_date,
        coalesce(unit_price, 0),
        '',
        known_at,
        least(in_force_until, item_known_at)
    from seen
    where item_known_at > known_at
)

select * from final
