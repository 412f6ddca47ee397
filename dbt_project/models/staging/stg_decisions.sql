with

source as (
    select * from {{ source('landing', 'decisions') }}
),

renamed as (
    select
        decision_id,
        decided_at,
        user_id,
        kind,
        subject,
        rank,
        score,
        propensity,
        arm,
        model,
        model_version,
        features_at,
        reason,
        repairs,
        known_at
    from source
),

versions as (
    {{ row_versions(
        'renamed',
        ['decision_id'],
        [
            'decided_at', 'user_id', 'kind', 'subject', 'rank', 'score', 'propensity', 'arm', 'model', 'model_version', 'features_at', 'reason', 'repairs'
        ]
    ) }}
)

select * from versions
