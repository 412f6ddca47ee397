with

source as (
    select * from {{ source('landing', 'chargebacks') }}
),

renamed as (
    select
        order_id,
        reported_at,
        repairs,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['order_id'],
        [
            'reported_at', 'repairs'
        ]
    ) }}
)

select * from versions
