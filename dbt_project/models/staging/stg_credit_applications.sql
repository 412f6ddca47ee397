with

source as (
    select * from {{ source('landing', 'credit_applications') }}
),

renamed as (
    select
        application_id,
        user_id,
        applied_at,
        amount,
        defaulted as is_defaulted,
        outcome_at,
        covariates,
        repairs,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['application_id'],
        [
            'user_id', 'applied_at', 'amount', 'is_defaulted', 'outcome_at', 'covariates', 'repairs'
        ]
    ) }}
)

select * from versions
