{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- A visit is a session of the shop; where it names none, events without 30 silent minutes between them. Knowledge of such a visit can
-- change when an event arrives late, so visits are cut anew at each time something became known of the sitting they lie in (all events,
-- ever known, without a silence between them).
with

versions as (
    {{ versions_to_build(ref('int_user_feature_versions')) }}
),

events as (
    select user_id, event_id, occurred_at, occurred_date, session_id, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where user_id in (select user_id from versions)
),

sittings as (
    select
        *,
        sum(starts_sitting) over (partition by user_id order by occurred_at, event_id, known_at rows unbounded preceding) as sitting
    from (
        select
            *,
            case
                when
                    occurred_at <= lag(occurred_at) over (
                        partition by user_id order by occurred_at, event_id, known_at
                    ) + interval '30 minutes'
                    then 0
                else 1
            end as starts_sitting
        from events
        where session_id is null
    ) as silences
),

sitting_changes as (
    select
        user_id,
        sitting,
        changed_at as known_at,
        lead(changed_at, 1, cast('infinity' as timestamp)) over (partition by user_id, sitting order by changed_at) as in_force_until
    from (
        select user_id, sitting, known_at as changed_at from sittings
        union
        select user_id, sitting, in_force_until from sittings where in_force_until < cast('infinity' as timestamp)
    ) as changes
),

known_sittings as (
    select
        sittings.user_id,
        sittings.sitting,
        sittings.occurred_at,
        sittings.occurred_date,
        sitting_changes.known_at,
        sitting_changes.in_force_until,
        lag(sittings.occurred_at) over (
            partition by sittings.user_id, sittings.sitting, sitting_changes.known_at order by sittings.occurred_at
        ) as previous_at
    from sittings
    inner join sitting_changes
        on
            sittings.user_id = sitting_changes.user_id
            and sittings.sitting = sitting_changes.sitting
            and {{ in_force('sittings', 'sitting_changes.known_at') }}
),

silent_visits as (
    select
        *,
        max(case when previous_at + interval '30 minutes' >= occurred_at then null else occurred_at end) over (
            partition by user_id, sitting, known_at order by occurred_at
        ) as visit_started_at
    from known_sittings
),

visits as (
    select distinct user_id, session_id as visit, occurred_date, known_at, in_force_until
    from events
    where session_id is not null
    union
    select distinct user_id, cast(visit_started_at as varchar), occurred_date, known_at, in_force_until
    from silent_visits
),

final as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        count(distinct visits.visit) as sessions_30d
    from versions
    left join visits
        on
            versions.user_id = visits.user_id
            and versions.features_at > visits.occurred_date
            and visits.occurred_date >= cast(versions.features_at as date) - 30
            and {{ in_force('visits', 'versions.created_at') }}
    group by 1, 2, 3
)

select * from final
