with

source as (
    select * from {{ source('landing', 'users') }}
),

renamed as (
    select user_id, registered_at, country, city, known_at
    from source
),

versions as (
    {{ row_versions('renamed', ['user_id'], ['registered_at', 'country', 'city']) }}
)

select * from versions
