{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

versions as (
    select user_id, features_at, created_at
    from (
        {{ versions_to_build(ref('user_sequences')) }}
    ) as sequences
),

days as (
    select * from {{ ref('int_user_days') }}
    where events > 0 and user_id in (select user_id from versions)
),

lists as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        {{ list_of("days.occurred_date - cast('1970-01-01' as date)", 'bigint', 'days.occurred_date') }} as day_numbers,
        {{ list_of('days.events', 'bigint', 'days.occurred_date') }} as daily_events,
        {{ list_of('days.views', 'bigint', 'days.occurred_date') }} as daily_views,
        {{ list_of('days.favourites', 'bigint', 'days.occurred_date') }} as daily_favourites,
        {{ list_of('days.carts', 'bigint', 'days.occurred_date') }} as daily_carts,
        {{ list_of('days.purchases', 'bigint', 'days.occurred_date') }} as daily_purchases,
        {{ list_of('days.returns', 'bigint', 'days.occurred_date') }} as daily_returns,
        {{ list_of('days.sessions', 'bigint', 'days.occurred_date') }} as daily_sessions,
        {{ list_of('days.spend', 'double precision', 'days.occurred_date') }} as daily_spend
    from versions
    inner join days
        on
            versions.user_id = days.user_id
            and versions.features_at > days.occurred_date
            and days.occurred_date >= cast(versions.features_at as date) - 90
            and {{ in_force('days', 'versions.created_at') }}
    group by 1, 2, 3
),

-- an active day can turn out to have been somebody else's: its version stays, and may be left without a day
final as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        coalesce(lists.day_numbers, {{ empty_list('bigint') }}) as day_numbers,
        coalesce(lists.daily_events, {{ empty_list('bigint') }}) as daily_events,
        coalesce(lists.daily_views, {{ empty_list('bigint') }}) as daily_views,
        coalesce(lists.daily_favourites, {{ empty_list('bigint') }}) as daily_favourites,
        coalesce(lists.daily_carts, {{ empty_list('bigint') }}) as daily_carts,
        coalesce(lists.daily_purchases, {{ empty_list('bigint') }}) as daily_purchases,
        coalesce(lists.daily_returns, {{ empty_list('bigint') }}) as daily_returns,
        coalesce(lists.daily_sessions, {{ empty_list('bigint') }}) as daily_sessions,
        coalesce(lists.daily_spend, {{ empty_list('double precision') }}) as daily_spend
    from versions
    left join lists
        on {{ same_version('versions', 'lists', 'user_id') }}
)

select * from final
