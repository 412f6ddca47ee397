with

source as (
    select * from {{ source('landing', 'orders') }}
),

renamed as (
    select
        order_id,
        user_id,
        placed_at,
        amount,
        payment_id,
        device_id,
        address_id,
        repairs,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['order_id'],
        [
            'user_id', 'placed_at', 'amount', 'payment_id', 'device_id', 'address_id', 'repairs'
        ]
    ) }}
)

select * from versions
