with

source as (
    select * from {{ source('landing', 'user_traits') }}
),

renamed as (
    select
        user_id,
        trait,
        value,
        coalesce(shop_known_at, known_at) as learned_at,
        known_at
    from source
),

versions as (
    {{ row_versions('renamed', ['user_id', 'trait'], ['value', 'learned_at']) }}
)

select * from versions
