with

source as (
    select * from {{ source('landing', 'reviews') }}
),

renamed as (
    select
        review_id,
        user_id,
        item_id,
        rating,
        text,
        created_at,
        repairs,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['review_id'],
        [
            'user_id', 'item_id', 'rating', 'text', 'created_at', 'repairs'
        ]
    ) }}
)

select * from versions
