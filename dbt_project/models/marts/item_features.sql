{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

windows as (
    {{ versions_to_build(ref('int_item_windows')) }}
),

buyers as (
    {{ versions_to_build(ref('int_item_buyers')) }}
),

prices_paid as (
    {{ versions_to_build(ref('int_item_prices_paid')) }}
),

items as (
    select * from {{ ref('int_item_versions') }}
),

attribute_lists as (
    select * from {{ ref('int_item_attribute_lists') }}
),

final as (
    select
        windows.item_id,
        windows.features_at,
        windows.created_at,
        items.title,
        items.description,
        items.category,
        items.top_category,
        items.brand,
        coalesce(items.price, prices_paid.price_paid) as price,
        cast(
            case when items.price is not null then 'list' when prices_paid.price_paid is not null then 'paid_median' end as varchar
        ) as price_source,
        coalesce(items.in_stock, true) as in_stock,
        items.listed_at,
        coalesce(attribute_lists.attributes, {{ empty_list('varchar') }}) as attributes,
        windows.views_7d,
        windows.events_7d,
        windows.events_30d,
        windows.events_90d,
        windows.purchases_7d,
        windows.purchases_30d,
        windows.purchases_90d,
        coalesce(buyers.buyers_30d, 0) as buyers_30d,
        windows.events_total,
        windows.rating_mean
    from windows
    left join buyers
        on {{ same_version('windows', 'buyers', 'item_id') }}
    left join prices_paid
        on {{ same_version('windows', 'prices_paid', 'item_id') }}
    left join items
        on windows.item_id = items.item_id and {{ in_force('items', 'windows.created_at') }}
    left join attribute_lists
        on windows.item_id = attribute_lists.item_id and {{ in_force('attribute_lists', 'windows.created_at') }}
)

select * from final
