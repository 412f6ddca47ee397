with

events as (
    select * from {{ ref('stg_events') }}
),

final as (
    select
        event_id,
        user_id,
        item_id,
        event_type,
        occurred_at,
        cast(occurred_at as date) as occurred_date,
        cast(cast(occurred_at as date) + 1 as timestamp) as day_end_at,
        session_id,
        unit_price,
        cast(
            case event_type when 'purchase' then 1 when 'return' then -1 else 0 end
            * coalesce(quantity, 1) * coalesce(unit_price, 0)
            as decimal(18, 4)
        ) as spend,
        cast(rating as decimal(18, 4)) as rating,
        known_at,
        {{ in_force_until() }}
    from events
)

select * from final
