with

applications as (
    select * from {{ ref('stg_credit_applications') }}
),

final as (
    select
        application_id,
        user_id,
        applied_at,
        amount,
        is_defaulted,
        outcome_at,
        covariates
    from applications
    where superseded_at is null
)

select * from final
