{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

windows as (
    {{ versions_to_build(ref('int_user_windows')) }}
),

categories as (
    {{ versions_to_build(ref('int_user_categories')) }}
),

users as (
    select user_id, registered_at, country, city, known_at, {{ in_force_until() }}
    from {{ ref('stg_users') }}
),

final as (
    select
        windows.user_id,
        windows.features_at,
        windows.created_at,
        users.registered_at,
        users.country,
        users.city,
        windows.first_event_at,
        windows.last_event_at,
        windows.last_purchase_at,
        windows.events_7d,
        windows.events_30d,
        windows.events_90d,
        windows.views_7d,
        windows.views_30d,
        windows.favourites_30d,
        windows.carts_7d,
        windows.carts_30d,
        windows.purchases_7d,
        windows.purchases_30d,
        windows.purchases_90d,
        windows.returns_90d,
        windows.active_days_30d,
        windows.sessions_30d,
        windows.spend_7d,
        windows.spend_30d,
        windows.spend_90d,
        windows.events_total,
        windows.purchases_total,
        windows.spend_total,
        windows.rating_mean,
        coalesce(categories.top_categories, {{ empty_list('varchar') }}) as top_categories,
        coalesce(categories.top_category_shares, {{ empty_list('double precision') }}) as top_category_shares
    from windows
    left join categories
        on {{ same_version('windows', 'categories', 'user_id') }}
    left join users
        on windows.user_id = users.user_id and {{ in_force('users', 'windows.created_at') }}
)

select * from final
