with

items as (
    select * from {{ ref('stg_items') }}
),

final as (
    select items.*, {{ in_force_until() }}
    from items
)

select * from final
