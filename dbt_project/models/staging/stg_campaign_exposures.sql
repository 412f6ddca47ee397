with

source as (
    select * from {{ source('landing', 'campaign_exposures') }}
),

renamed as (
    select
        campaign_id,
        user_id,
        assigned_at,
        treatment,
        propensity,
        cost,
        visited as is_visited,
        converted as is_converted,
        spend,
        outcome_at,
        covariates,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['campaign_id', 'user_id'],
        [
            'assigned_at', 'treatment', 'propensity', 'cost', 'is_visited', 'is_converted', 'spend', 'outcome_at', 'covariates'
        ]
    ) }}
)

select * from versions
