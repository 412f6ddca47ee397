{% set shop_tables = [
    'users', 'user_traits', 'items', 'item_attributes', 'events', 'reviews', 'campaign_exposures', 'credit_applications', 'orders', 'chargebacks'
] %}

-- a day that was loaded and brought nothing is known as well: silence moves windows
with

newest_rows as (
    {% for table in shop_tables %}
        select '{{ table }}' as landing_table, max(known_at) as known_at from {{ source('landing', table) }}
        {{ 'union all' if not loop.last }}
    {% endfor %}
),

newest_loads as (
    select landing_table, cast(max(ds) + 1 as timestamp) as known_at
    from {{ source('books', '_loads') }}
    where
        landing_table in (
            {% for table in shop_tables %}
                '{{ table }}'{{ ',' if not loop.last }}
            {% endfor %}
        )
    group by 1
),

final as (
    select landing_table, max(known_at) as known_at
    from (
        select * from newest_rows
        union all
        select * from newest_loads
    ) as deliveries
    where known_at is not null
    group by 1
)

select * from final
