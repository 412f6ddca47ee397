with

deliveries as (
    select * from {{ ref('stg_deliveries') }}
),

final as (
    select max(known_at) as horizon_at
    from deliveries
)

select * from final
