{{ config(materialized='view') }}

with

items as (
    select * from {{ ref('int_item_versions') }}
),

attribute_lists as (
    select * from {{ ref('int_item_attribute_lists') }}
),

final as (
    select item_id, known_at from items
    union
    select item_id, known_at from attribute_lists
)

select * from final
