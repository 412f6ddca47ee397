{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{% if is_incremental() %} delete from {{ this }}
        where known_at > {{ window_start() }} or known_at > (select horizon_at from {{ ref('int_horizon') }}) {% endif %}"
) }}

-- An answer is what was known when its 30 days were over, so it never changes; questions are asked on Mondays, whatever the horizon, so a
-- new day adds answers and moves none.
with

horizon as (
    select * from {{ ref('int_horizon') }}
),

events as (
    select
        user_id,
        item_id,
        occurred_at,
        event_type,
        spend,
        known_at,
        in_force_until,
        row_number() over (partition by user_id order by occurred_at, {{ by_bytes('event_id') }}, known_at) as place
    from {{ ref('int_event_versions') }}
    where
        user_id is not null
        and {{ in_part('user_id') }}
    {% if is_incremental() %}
        and occurred_at > {{ window_start() }} - interval '30 days'
    {% endif %}
),

seen_users as (
    select user_id, min(greatest(cast(occurred_date + 1 as timestamp), known_at)) as seen_from
    from {{ ref('int_user_days') }}
    where {{ in_part('user_id') }}
    group by 1
),

mondays as (
    select
        date_trunc('week', horizon_at - interval '30 days') as newest,
        cast(extract(epoch from (horizon_at - (select min(seen_from) from seen_users))) / 604800 as bigint) + 1 as weeks
    from horizon
),

label_times as (
    select mondays.newest - steps.weeks_back * interval '7 days' as label_at
    from mondays
    cross join generate_series(0, (select weeks from mondays)) as steps (weeks_back)
),

questions as (
    select
        seen_users.user_id,
        label_times.label_at,
        label_times.label_at + interval '30 days' as known_at
    from label_times
    inner join seen_users on label_times.label_at >= seen_users.seen_from
    {% if is_incremental() %}
    where label_times.label_at + interval '30 days' > {{ window_start() }}
    {% endif %}
),

answers as (
    select
        questions.user_id,
        questions.label_at,
        events.occurred_at,
        events.event_type,
        events.spend,
        events.place
    from questions
    inner join events
        on
            questions.user_id = events.user_id
            and questions.label_at <= events.occurred_at
            and questions.known_at > events.occurred_at
            and {{ in_force('events', 'questions.known_at') }}
),

outcomes as (
    select
        user_id,
        label_at,
        count(*) filter (where event_type = 'purchase' and occurred_at < label_at + interval '7 days') > 0 as is_purchased_7d,
        count(*) filter (where event_type = 'purchase') > 0 as is_purchased_30d,
        count(*) filter (where occurred_at < label_at + interval '7 days') > 0 as is_active_7d,
        sum(spend) as spend_30d,
        min(place) filter (where event_type = 'purchase') as first_purchase
    from answers
    group by 1, 2
),

final as (
    select
        questions.user_id,
        questions.label_at,
        questions.known_at,
        coalesce(outcomes.is_purchased_7d, false) as is_purchased_7d,
        coalesce(outcomes.is_purchased_30d, false) as is_purchased_30d,
        coalesce(outcomes.is_active_7d, false) as is_active_7d,
        outcomes.user_id is not null as is_active_30d,
        cast(coalesce(outcomes.spend_30d, 0) as double precision) as spend_30d,
        events.item_id as next_purchase_item_id
    from questions
    left join outcomes
        on questions.user_id = outcomes.user_id and questions.label_at = outcomes.label_at
    left join events
        on outcomes.user_id = events.user_id and outcomes.first_purchase = events.place
)

select * from final
