{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- Only where the shop gave no list price, and once per distinct set of purchases, not once per version: a median over everything ever
-- paid is the dearest of the item's figures. Two versions of an item with the same last purchase date, newest knowledge and number of
-- purchases count the same purchases: anything added since is newer knowledge, anything taken away alone lowers the number.
with

versions as (
    {{ versions_to_build(ref('int_item_windows')) }}
),

items as (
    select * from {{ ref('int_item_versions') }}
),

unpriced as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        versions.last_purchase_date,
        versions.purchases_known_at,
        versions.purchases_total
    from versions
    left join items
        on versions.item_id = items.item_id and {{ in_force('items', 'versions.created_at') }}
    where items.price is null and versions.purchases_total > 0
),

purchase_sets as (
    select item_id, last_purchase_date, purchases_known_at, purchases_total, min(created_at) as created_at
    from unpriced
    group by 1, 2, 3, 4
),

purchases as (
    select item_id, occurred_date, unit_price, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where
        event_type = 'purchase'
        and unit_price is not null
        and item_id in (select item_id from unpriced)
),

medians as (
    select
        purchase_sets.item_id,
        purchase_sets.last_purchase_date,
        purchase_sets.purchases_known_at,
        purchase_sets.purchases_total,
        percentile_cont(0.5) within group (order by purchases.unit_price) as price_paid
    from purchase_sets
    inner join purchases
        on
            purchase_sets.item_id = purchases.item_id
            and purchase_sets.last_purchase_date >= purchases.occurred_date
            and {{ in_force('purchases', 'purchase_sets.created_at') }}
    group by 1, 2, 3, 4
),

final as (
    select unpriced.item_id, unpriced.features_at, unpriced.created_at, medians.price_paid
    from unpriced
    inner join medians
        on
            unpriced.item_id = medians.item_id
            and unpriced.last_purchase_date = medians.last_purchase_date
            and unpriced.purchases_known_at = medians.purchases_known_at
            and unpriced.purchases_total = medians.purchases_total
)

select * from final
