with

horizon as (
    select * from {{ ref('int_horizon') }}
),

events as (
    select * from {{ ref('int_event_versions') }}
    where user_id is not null
),

seen_users as (
    select user_id, min(greatest(cast(occurred_date + 1 as timestamp), known_at)) as seen_from
    from events
    group by 1
),

-- weeks back from the newest midnight whose 30 days are complete, as far as anybody had been seen
label_times as (
    select horizon.horizon_at - interval '30 days' - steps.weeks_back * interval '7 days' as label_at
    from horizon
    cross join generate_series(
        0, (select cast(extract(epoch from (horizon_at - (select min(seen_from) from seen_users))) / 604800 as bigint) from horizon)
    ) as steps (weeks_back)
),

questions as (
    select
        seen_users.user_id,
        label_times.label_at,
        label_times.label_at + interval '30 days' as known_at
    from label_times
    inner join seen_users on label_times.label_at >= seen_users.seen_from
),

answers as (
    select
        questions.user_id,
        questions.label_at,
        events.occurred_at,
        events.event_type,
        events.spend,
        case when events.event_type = 'purchase' then events.item_id end as purchased_item_id,
        row_number() over (
            partition by questions.user_id, questions.label_at
            order by case when events.event_type = 'purchase' then 0 else 1 end, events.occurred_at, events.event_id
        ) as place
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
        sum(spend) as spend_30d,
        max(purchased_item_id) filter (where place = 1) as next_purchase_item_id
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
        outcomes.user_id is not null as is_active_30d,
        cast(coalesce(outcomes.spend_30d, 0) as double precision) as spend_30d,
        outcomes.next_purchase_item_id
    from questions
    left join outcomes
        on questions.user_id = outcomes.user_id and questions.label_at = outcomes.label_at
)

select * from final
