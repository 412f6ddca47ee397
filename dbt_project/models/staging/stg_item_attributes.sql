with

source as (
    select * from {{ source('landing', 'item_attributes') }}
),

renamed as (
    select item_id, attribute, value, known_at
    from source
),

versions as (
    {{ row_versions('renamed', ['item_id', 'attribute', 'value'], []) }}
)

select * from versions
