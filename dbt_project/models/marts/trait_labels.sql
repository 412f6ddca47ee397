with

traits as (
    select * from {{ ref('stg_user_traits') }}
),

final as (
    select user_id, trait, value, learned_at as known_at
    from traits
    where superseded_at is null
)

select * from final
