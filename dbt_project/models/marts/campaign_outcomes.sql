with

exposures as (
    select * from {{ ref('stg_campaign_exposures') }}
),

final as (
    select
        campaign_id,
        user_id,
        assigned_at,
        treatment,
        propensity,
        cost,
        is_visited,
        is_converted,
        spend,
        outcome_at,
        covariates
    from exposures
    where superseded_at is null
)

select * from final
