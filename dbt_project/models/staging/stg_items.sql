with

source as (
    select * from {{ source('landing', 'items') }}
),

renamed as (
    select
        item_id,
        title,
        description,
        category,
        cast(nullif(trim(split_part(category, '>', 1)), '') as varchar) as top_category,
        brand,
        price,
        listed_at,
        in_stock,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['item_id'],
        ['title', 'description', 'category', 'top_category', 'brand', 'price', 'listed_at', 'in_stock']
    ) }}
)

select * from versions
