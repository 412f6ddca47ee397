with

source as (
    select * from {{ source('landing', 'portraits') }}
),

renamed as (
    select
        user_id,
        as_of,
        model_version,
        vector,
        portrait,
        repairs,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['user_id', 'as_of'],
        [
            'model_version', 'vector', 'portrait', 'repairs'
        ]
    ) }}
)

select * from versions
