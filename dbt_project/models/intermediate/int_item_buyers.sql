{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

versions as (
    {{ versions_to_build(ref('int_item_feature_versions')) }}
),

buyers as (
    select distinct item_id, user_id, occurred_date, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where
        event_type = 'purchase'
        and user_id is not null
        and item_id in (select item_id from versions)
),

final as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        count(distinct buyers.user_id) as buyers_30d
    from versions
    inner join buyers
        on
            versions.item_id = buyers.item_id
            and versions.features_at > buyers.occurred_date
            and buyers.occurred_date >= cast(versions.features_at as date) - 30
            and {{ in_force('buyers', 'versions.created_at') }}
    group by 1, 2, 3
)

select * from final
