with

orders as (
    select * from {{ ref('int_order_versions') }}
),

final as (
    select order_id, placed_at, known_at, charged_back_at, charged_back_known_at
    from orders
)

select * from final
