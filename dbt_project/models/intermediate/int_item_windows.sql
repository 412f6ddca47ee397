{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

versions as (
    {{ versions_to_build(ref('int_item_feature_versions')) }}
),

days as (
    select * from {{ ref('int_item_days') }}
    where item_id in (select item_id from versions)
),

final as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        {{ total('views', 7) }},
        {{ total('events', 7) }},
        {{ total('events', 30) }},
        {{ total('events', 90) }},
        {{ total('purchases', 7) }},
        {{ total('purchases', 30) }},
        {{ total('purchases', 90) }},
        {{ total('events') }},
        {{ total('purchases') }},
        max(days.purchase_date) as last_purchase_date,
        max(days.purchases_known_at) as purchases_known_at,
        cast(sum(days.rating_sum) as double precision) / nullif(sum(days.ratings), 0) as rating_mean
    from versions
    left join days
        on
            versions.item_id = days.item_id
            and versions.features_at > days.occurred_date
            and {{ in_force('days', 'versions.created_at') }}
    group by 1, 2, 3
)

select * from final
