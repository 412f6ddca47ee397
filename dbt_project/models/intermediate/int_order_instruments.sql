with

orders as (
    select * from {{ ref('int_order_versions') }}
),

final as (
    {% for kind in order_instruments() %}
        select
            order_id,
            '{{ kind }}' as kind,
            '{{ kind }}:' || {{ kind }}_id as instrument_id,
            user_id,
            placed_at,
            amount,
            known_at,
            charged_back_known_at
        from orders
        where {{ kind }}_id is not null
        {{ 'union all' if not loop.last }}
    {% endfor %}
)

select * from final
