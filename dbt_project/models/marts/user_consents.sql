with

consents as (
    select * from {{ ref('stg_user_consents') }}
),

final as (
    select user_id, has_personalisation_consent, has_marketing_consent, has_credit_consent, known_at
    from consents
)

select * from final
