-- An order counts as it was first delivered, which is what the checkout saw, and a chargeback from the first midnight at which it is known.
with

orders as (
    select *, row_number() over (partition by order_id order by known_at) as delivery
    from {{ ref('stg_orders') }}
),

chargebacks as (
    select
        order_id,
        min(reported_at) as charged_back_at,
        min({{ midnight_after('greatest(known_at, reported_at)') }}) as charged_back_known_at
    from {{ ref('stg_chargebacks') }}
    group by 1
),

final as (
    select
        orders.order_id,
        orders.user_id,
        orders.payment_id,
        orders.device_id,
        orders.address_id,
        orders.placed_at,
        cast(coalesce(orders.amount, 0) as decimal(18, 4)) as amount,
        orders.known_at,
        chargebacks.charged_back_at,
        chargebacks.charged_back_known_at
    from orders
    left join chargebacks on orders.order_id = chargebacks.order_id
    where orders.delivery = 1
)

select * from final
