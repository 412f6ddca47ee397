-- Beside stg_users, whose versions are versions of features: a consent that is given or taken back changes none of them.
with

source as (
    select * from {{ source('landing', 'users') }}
),

renamed as (
    select
        user_id,
        coalesce(consent_personalisation, false) as has_personalisation_consent,
        coalesce(consent_marketing, false) as has_marketing_consent,
        coalesce(consent_credit, false) as has_credit_consent,
        known_at
    from source
),

versions as (
    {{ row_versions('renamed', ['user_id'], ['has_personalisation_consent', 'has_marketing_consent', 'has_credit_consent']) }}
)

select * from versions
