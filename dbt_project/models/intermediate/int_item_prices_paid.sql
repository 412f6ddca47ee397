{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- Only where the shop gave no list price, and once per set of purchases, not once per version: a median over everything ever paid is the
-- dearest of the item's figures. Versions by which all purchases before them were settled (macros/settled.sql) count what finally stands up
-- to the last purchase; the others count what was in force for them.
with

horizon as (
    select * from {{ ref('int_horizon') }}
),

versions as (
    {{ versions_to_build(ref('int_item_windows'), 'item_id') }}
),

items as (
    select * from {{ ref('int_item_versions') }}
),

unpriced as (
    select versions.item_id, versions.features_at, versions.created_at
    from versions
    left join items
        on versions.item_id = items.item_id and {{ in_force('items', 'versions.created_at') }}
    where items.price is null and versions.purchases_total > 0
),

purchases as (
    select item_id, occurred_date, unit_price, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where
        event_type = 'purchase'
        and unit_price is not null
        and item_id in (select item_id from unpriced)
),

unsettled as (
    {{ unsettled_rows('item_id', 'purchases') }}
),

unsettled_at as (
    {{ laid_on_midnights('unsettled', 'unpriced') }}
),

differing as (
    select distinct unpriced.item_id, unpriced.features_at, unpriced.created_at
    from unpriced
    inner join unsettled_at
        on
            unpriced.item_id = unsettled_at.item_id
            and unpriced.features_at = unsettled_at.features_at
            and {{ in_force('unsettled_at', 'unpriced.created_at') }}
),

days_and_questions as (
    select distinct item_id, occurred_date as at_date, occurred_date as purchase_date, false as is_question
    from purchases
    where in_force_until = cast('infinity' as timestamp)
    union all
    select distinct item_id, cast(features_at as date), cast(null as date), true
    from unpriced
),

last_purchases as (
    select
        item_id,
        cast(at_date as timestamp) as features_at,
        is_question,
        max(purchase_date) over (
            partition by item_id order by at_date range between unbounded preceding and interval '1 day' preceding
        ) as purchase_date
    from days_and_questions
),

purchase_sets as (
    select
        unpriced.*,
        case when differing.item_id is null then last_purchases.purchase_date + 1 else cast(unpriced.features_at as date) end as until_date,
        case when differing.item_id is null then horizon.horizon_at else unpriced.created_at end as as_known_at
    from unpriced
    cross join horizon
    inner join last_purchases
        on unpriced.item_id = last_purchases.item_id and unpriced.features_at = last_purchases.features_at and last_purchases.is_question
    left join differing
        on {{ same_version('unpriced', 'differing', 'item_id') }}
),

medians as (
    select
        sets.item_id,
        sets.until_date,
        sets.as_known_at,
        percentile_cont(0.5) within group (order by purchases.unit_price) as price_paid
    from (select distinct item_id, until_date, as_known_at from purchase_sets) as sets
    inner join purchases
        on
            sets.item_id = purchases.item_id
            and sets.until_date > purchases.occurred_date
            and {{ in_force('purchases', 'sets.as_known_at') }}
    group by 1, 2, 3
),

final as (
    select purchase_sets.item_id, purchase_sets.features_at, purchase_sets.created_at, medians.price_paid
    from purchase_sets
    inner join medians
        on
            purchase_sets.item_id = medians.item_id
            and purchase_sets.until_date = medians.until_date
            and purchase_sets.as_known_at = medians.as_known_at
)

select * from final
