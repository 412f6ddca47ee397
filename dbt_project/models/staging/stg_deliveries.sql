{% set shop_tables = [
    'users', 'user_traits', 'items', 'item_attributes', 'events', 'reviews', 'campaign_exposures', 'credit_applications', 'orders', 'chargebacks'
] %}

with

deliveries as (
    {% for table in shop_tables %}
        select '{{ table }}' as landing_table, ds, known_at from {{ source('landing', table) }}
        {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (
    select landing_table, ds, max(known_at) as known_at
    from deliveries
    group by 1, 2
)

select * from final
