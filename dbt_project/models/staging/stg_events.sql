with

source as (
    select * from {{ source('landing', 'events') }}
),

renamed as (
    select
        event_id,
        user_id,
        item_id,
        event_type,
        occurred_at,
        session_id,
        quantity,
        unit_price,
        rating,
        known_at
    from source
)

select * from renamed
