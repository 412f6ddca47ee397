{% set spans = {'1h': '1 hour', '24h': '24 hours', '7d': '7 days'} %}

-- Frames by time over one sort of each instrument's rows: the cost grows with the orders times their logarithm, however hot one is.
-- Every frame ends before the order itself; a chargeback stands just before the midnight at which it is known, so that midnight counts it.
with

orders as (
    select
        *,
        user_id is not null
        and row_number() over (
            partition by instrument_id, user_id order by placed_at, {{ by_bytes('order_id') }}
        ) = 1 as is_first_of_account
    from {{ ref('int_order_instruments') }}
),

moments as (
    select
        instrument_id,
        kind,
        order_id,
        placed_at as moment_at,
        1 as orders,
        amount,
        case when is_first_of_account then 1 else 0 end as accounts,
        0 as chargebacks
    from orders
    union all
    select
        instrument_id,
        kind,
        null as order_id,
        charged_back_known_at - interval '1 microsecond' as moment_at,
        0 as orders,
        0 as amount,
        0 as accounts,
        1 as chargebacks
    from orders
    where charged_back_known_at is not null
),

counted as (
    select
        order_id,
        kind,
        {% for name in spans %}
            coalesce(sum(orders) over last_{{ name }}, 0) as orders_{{ name }},
            coalesce(sum(amount) over last_{{ name }}, 0) as amount_{{ name }},
        {% endfor -%}
        coalesce(sum(orders) over ever, 0) as orders_total,
        coalesce(sum(amount) over ever, 0) as amount_total,
        coalesce(sum(accounts) over ever, 0) as accounts_total,
        coalesce(sum(chargebacks) over ever, 0) as chargebacks_total
    from moments
    window
        {% for name, span in spans.items() %}
            last_{{ name }} as (
                partition by instrument_id order by moment_at
                range between interval '{{ span }}' preceding and interval '1 microsecond' preceding
            ),
        {% endfor -%}
        ever as (
            partition by instrument_id order by moment_at
            range between unbounded preceding and interval '1 microsecond' preceding
        )
),

final as (
    select * from counted where order_id is not null
)

select * from final
