{% set counted = [
    'orders_1h', 'orders_24h', 'orders_7d', 'amount_1h', 'amount_24h', 'amount_7d', 'orders_total', 'chargebacks_total'
] %}

with

orders as (
    select * from {{ ref('int_order_versions') }}
),

users as (
    select user_id, registered_at from {{ ref('stg_users') }} where superseded_at is null
),

histories as (
    select
        order_id,
        {% for kind in order_instruments() %}
            {% for name in counted %}
                cast(max(case when kind = '{{ kind }}' then {{ name }} end) as double precision) as {{ kind }}_{{ name }},
            {% endfor %}
            cast(
                max(case when kind = '{{ kind }}' then least(accounts_total, {{ most_accounts() }}) end) as double precision
            ) as {{ kind }}_accounts,
        {% endfor -%}
        max(case when kind = 'user' and orders_total > 0 then amount_total / orders_total end) as user_amount_mean
    from {{ ref('int_order_histories') }}
    group by 1
),

final as (
    select
        orders.order_id,
        orders.placed_at,
        orders.user_id,
        orders.payment_id,
        orders.device_id,
        orders.address_id,
        users.registered_at as account_opened_at,
        cast(orders.amount as double precision) as amount,
        cast(orders.amount / nullif(histories.user_amount_mean, 0) as double precision) as amount_over_mean,
        case
            when users.registered_at is not null
                then cast(greatest(extract(epoch from (orders.placed_at - users.registered_at)), 0) / 86400 as double precision)
        end as account_age_days,
        {% for kind in order_instruments() %}
            {% for name in counted %}
                histories.{{ kind }}_{{ name }},
            {% endfor %}
        {% endfor -%}
        histories.payment_accounts,
        histories.device_accounts,
        histories.address_accounts
    from orders
    left join histories on orders.order_id = histories.order_id
    left join users on orders.user_id = users.user_id
)

select * from final
