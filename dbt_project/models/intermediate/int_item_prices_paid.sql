{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- Only where the shop gave no list price: a median over everything ever paid is the dearest of the item's figures.
with

versions as (
    {{ versions_to_build(ref('int_item_feature_versions')) }}
),

items as (
    select * from {{ ref('int_item_versions') }}
),

unpriced as (
    select versions.*
    from versions
    left join items
        on versions.item_id = items.item_id and {{ in_force('items', 'versions.created_at') }}
    where items.price is null
),

purchases as (
    select item_id, occurred_date, unit_price, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where
        event_type = 'purchase'
        and unit_price is not null
        and item_id in (select item_id from unpriced)
),

final as (
    select
        unpriced.item_id,
        unpriced.features_at,
        unpriced.created_at,
        percentile_cont(0.5) within group (order by purchases.unit_price) as price_paid
    from unpriced
    inner join purchases
        on
            unpriced.item_id = purchases.item_id
            and unpriced.features_at > purchases.occurred_date
            and {{ in_force('purchases', 'unpriced.created_at') }}
    group by 1, 2, 3
)

select * from final
