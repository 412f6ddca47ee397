-- beside stg_users, so that a consent given or taken back makes no new version of a user's features
with

source as (
    select * from {{ source('landing', 'users') }}
),

renamed as (
    select user_id, consent_personalisation, consent_marketing, consent_credit, known_at
    from source
),

versions as (
    {{ row_versions('renamed', ['user_id'], ['consent_personalisation', 'consent_marketing', 'consent_credit']) }}
)

select * from versions
