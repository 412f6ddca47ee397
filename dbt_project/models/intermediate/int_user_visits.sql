{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_known() }}') }}

-- A visit is a session of the shop; where it names none, events without 30 silent minutes between them. It belongs to the day on which it
-- began. Knowledge of its beginning can change when an event arrives late, so visits are cut anew at each time something became known of
-- the session or sitting they lie in (a sitting: all events, ever known, without a silence between them).
with

events as (
    select user_id, event_id, occurred_at, occurred_date, session_id, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where
        user_id is not null
        and {{ in_part('user_id') }}
    {% if is_incremental() %}
        and user_id in (
            select user_id
            from {{ ref('int_event_versions') }}
            where
                known_at > {{ window_start() }}
                or (in_force_until > {{ window_start() }} and in_force_until < cast('infinity' as timestamp))
        )
    {% endif %}
),

silences as (
    select
        *,
        case
            when
                session_id is not null
                or occurred_at <= lag(occurred_at) over (
                    partition by user_id, session_id order by occurred_at, event_id, known_at
                ) + interval '30 minutes'
                then 0
            else 1
        end as starts_sitting
    from events
),

sittings as (
    select
        *,
        sum(starts_sitting) over (
            partition by user_id, session_id order by occurred_at, event_id, known_at rows unbounded preceding
        ) as sitting
    from silences
),

changes as (
    select user_id, coalesce(session_id, '') as session_id, sitting, known_at from sittings
    union
    select user_id, coalesce(session_id, ''), sitting, in_force_until from sittings where in_force_until < cast('infinity' as timestamp)
),

known_until as (
    select
        *,
        coalesce(lead(known_at) over (partition by user_id, session_id, sitting order by known_at), cast('infinity' as timestamp))
            as in_force_until
    from changes
),

known_events as (
    select
        sittings.user_id,
        sittings.session_id,
        sittings.occurred_at,
        sittings.occurred_date,
        known_until.known_at,
        known_until.in_force_until,
        lag(sittings.occurred_at) over (
            partition by sittings.user_id, sittings.session_id, sittings.sitting, known_until.known_at order by sittings.occurred_at
        ) as previous_at
    from sittings
    inner join known_until
        on
            sittings.user_id = known_until.user_id
            and coalesce(sittings.session_id, '') = known_until.session_id
            and sittings.sitting = known_until.sitting
            and {{ in_force('sittings', 'known_until.known_at') }}
),

beginnings as (
    select user_id, occurred_date, known_at, in_force_until
    from known_events
    where previous_at is null or (session_id is null and previous_at + interval '30 minutes' < occurred_at)
),

gains_and_losses as (
    select user_id, occurred_date, known_at, 1 as visits from beginnings
    union all
    select user_id, occurred_date, in_force_until, -1 from beginnings where in_force_until < cast('infinity' as timestamp)
),

final as (
    select user_id, occurred_date, known_at, cast(sum(visits) as bigint) as visits
    from gains_and_losses
    {% if is_incremental() %}
    where known_at > {{ window_start() }}
    {% endif %}
    group by 1, 2, 3
    having sum(visits) <> 0
)

select * from final
