{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

versions as (
    {{ versions_to_build(ref('int_user_feature_versions'), 'user_id') }}
),

days as (
    select * from {{ ref('int_user_days') }}
    where user_id in (select user_id from versions)
),

final as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        min(days.first_event_at) as first_event_at,
        max(days.last_event_at) as last_event_at,
        max(days.last_purchase_at) as last_purchase_at,
        {{ total('events', 7) }},
        {{ total('events', 30) }},
        {{ total('events', 90) }},
        {{ total('views', 7) }},
        {{ total('views', 30) }},
        {{ total('favourites', 30) }},
        {{ total('carts', 7) }},
        {{ total('carts', 30) }},
        {{ total('purchases', 7) }},
        {{ total('purchases', 30) }},
        {{ total('purchases', 90) }},
        {{ total('returns', 90) }},
        count(*) filter (where days.events > 0 and days.occurred_date >= cast(versions.features_at as date) - 30) as active_days_30d,
        {{ total('sessions', 30) }},
        {{ money_total('spend', 7) }},
        {{ money_total('spend', 30) }},
        {{ money_total('spend', 90) }},
        {{ total('events') }},
        {{ total('purchases') }},
        {{ money_total('spend') }},
        cast(sum(days.rating_sum) as double precision) / nullif(sum(days.ratings), 0) as rating_mean
    from versions
    left join days
        on
            versions.user_id = days.user_id
            and versions.features_at > days.occurred_date
            and {{ in_force('days', 'versions.created_at') }}
    group by 1, 2, 3
)

select * from final
