with

consents as (
    select * from {{ ref('stg_user_consents') }}
),

final as (
    select user_id, known_at, consent_personalisation, consent_marketing, consent_credit
    from consents
)

select * from final
