{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=['{{ forget_known() }}', '{{ reopen_superseded() }}'],
    post_hook="{{ close_superseded(['user_id', 'occurred_date']) }}"
) }}

with

visits as (
    select * from {{ ref('int_user_visits') }}
),

changes as (
    {{ event_day_changes('user_id') }}
    union
    select user_id, occurred_date, known_at from visits {% if is_incremental() %} where known_at > {{ window_start() }}{% endif %}
),

events as (
    {{ events_at_changes('user_id', ['event_id', 'event_type', 'occurred_at', 'spend', 'rating']) }}
),

days as (
    select
        user_id,
        occurred_date,
        known_at,
        count(event_id) as events,
        count(*) filter (where event_type = 'view') as views,
        count(*) filter (where event_type = 'favourite') as favourites,
        count(*) filter (where event_type = 'cart') as carts,
        count(*) filter (where event_type = 'purchase') as purchases,
        count(*) filter (where event_type = 'return') as returns,
        coalesce(sum(spend), 0) as spend,
        coalesce(sum(cast(rating as decimal(18, 4))), 0) as rating_sum,
        count(rating) as ratings,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at,
        max(occurred_at) filter (where event_type = 'purchase') as last_purchase_at
    from events
    group by 1, 2, 3
),

begun as (
    select changes.user_id, changes.occurred_date, changes.known_at, cast(sum(visits.visits) as bigint) as sessions
    from changes
    inner join visits
        on
            changes.user_id = visits.user_id
            and changes.occurred_date = visits.occurred_date
            and changes.known_at >= visits.known_at
    group by 1, 2, 3
),

final as (
    select days.*, coalesce(begun.sessions, 0) as sessions, {{ next_change('user_id') }}
    from days
    left join begun
        on days.user_id = begun.user_id and days.occurred_date = begun.occurred_date and days.known_at = begun.known_at
)

select * from final
