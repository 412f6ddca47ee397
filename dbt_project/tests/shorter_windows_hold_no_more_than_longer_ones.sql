-- Harm prevented: a window cut at the wrong day, which no model would notice.
with

user_versions as (
    select * from {{ ref('user_features') }} where created_at > {{ window_start() }}
),

item_versions as (
    select * from {{ ref('item_features') }} where created_at > {{ window_start() }}
)

select user_id as entity_id, features_at, created_at from user_versions
where
    not (events_7d <= events_30d and events_30d <= events_90d and events_90d <= events_total)
    or not (purchases_7d <= purchases_30d and purchases_30d <= purchases_90d and purchases_90d <= purchases_total)
    or views_7d + carts_7d + purchases_7d > events_7d
    or views_30d + favourites_30d + carts_30d + purchases_30d > events_30d
    or purchases_90d + returns_90d > events_90d
    or active_days_30d > 30
    or sessions_30d > events_30d
    or (events_30d > 0) <> (active_days_30d > 0)
union all
select item_id, features_at, created_at from item_versions
where
    not (events_7d <= events_30d and events_30d <= events_90d and events_90d <= events_total)
    or not (purchases_7d <= purchases_30d and purchases_30d <= purchases_90d and purchases_90d <= events_90d)
    or views_7d + purchases_7d > events_7d
    or buyers_30d > purchases_30d
