{%- set numbers = ['purchases_90d', 'returns_90d', 'active_days_30d', 'sessions_30d', 'spend_30d', 'spend_90d'] -%}

-- A consent that is taken back makes a version of its own, whose features are null: the newest row is what may be read.
with

consents as (
    select user_id, has_credit_consent as is_agreed, known_at, {{ in_force_until() }}
    from {{ ref('stg_user_consents') }}
),

features as (
    select user_id, features_at, created_at, {{ numbers | join(', ') }}
    from {{ ref('user_features') }}
    where user_id in (select user_id from consents where is_agreed)
),

counted as (
    select features.*, consents.is_agreed, 1 as preference
    from features
    inner join consents
        on
            features.user_id = consents.user_id
            and {{ in_force('consents', 'features.created_at') }}
),

newest_at_change as (
    select
        features.user_id,
        features.features_at,
        consents.known_at as created_at,
        features.{{ numbers | join(', features.') }},
        consents.is_agreed,
        2 as preference,
        row_number() over (
            partition by consents.user_id, consents.known_at order by features.features_at desc, features.created_at desc
        ) as place
    from consents
    inner join features
        on
            consents.user_id = features.user_id
            and features.created_at < consents.known_at
),

versions as (
    select user_id, features_at, created_at, {{ numbers | join(', ') }}, is_agreed, preference from counted
    union all
    select user_id, features_at, created_at, {{ numbers | join(', ') }}, is_agreed, preference from newest_at_change where place = 1
),

ranked as (
    select *, row_number() over (partition by user_id, features_at, created_at order by preference) as choice
    from versions
),

final as (
    select
        user_id,
        features_at,
        created_at,
        cast(case when is_agreed then purchases_90d end as double precision) as purchases_90d,
        cast(case when is_agreed then returns_90d end as double precision) as returns_90d,
        cast(case when is_agreed then active_days_30d end as double precision) as active_days_30d,
        cast(case when is_agreed then sessions_30d end as double precision) as sessions_30d,
        cast(case when is_agreed then spend_30d end as double precision) as spend_30d,
        cast(case when is_agreed then spend_90d end as double precision) as spend_90d
    from ranked
    where choice = 1
)

select * from final
