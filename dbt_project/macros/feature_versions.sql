{# When an entity's features change, and when each version of them became known.

   features_at: the midnight after a day with events, and 7, 30 and 90 days later, when that day leaves a window; also the time at which
   something else about the entity became known (`other_changes`: entity, known_at). Up to the horizon: the newest time of which anything is known.
   created_at: the first version of a row becomes known with its cause, but not before its time; each later delivery that adds, corrects or
   removes an event before features_at makes another version, known at that delivery.

   Worked example: an event of 1 May, delivered on 4 May (known 5 May), for a user who has a row at 2 May known that day: the row
   of 2 May gets a second version created 5 May, and rows stand at 9 May, 1 June and 31 July. #}
{% macro feature_versions(entity, days, other_changes) %}
with

horizon as (
    select horizon_at from {{ ref('int_horizon') }}
),

other_changes as (
    select {{ entity }}, known_at from {{ other_changes }}
),

days as (
    select {{ entity }}, cast(occurred_date + 1 as timestamp) as day_end_at, known_at
    from {{ days }}
),

spans as (
    select span_days from (values (0), (7), (30), (90)) as spans (span_days)
),

{% if is_incremental() %}
touched as (
    select {{ entity }} from other_changes where known_at > {{ window_start() }}
    union
    select {{ entity }} from days where known_at > {{ window_start() }}
    union
    select days.{{ entity }}
    from days
    cross join spans
    cross join horizon
    where
        day_end_at > {{ window_start() }} - interval '90 days'
        and day_end_at + span_days * interval '1 day' > {{ window_start() }}
        and day_end_at + span_days * interval '1 day' <= horizon_at
),
{% else %}
touched as (
    select {{ entity }} from days
    union
    select {{ entity }} from other_changes
),
{% endif %}

touched_days as (
    select * from days
    where {{ entity }} in (select {{ entity }} from touched)
),

active_days as (
    select {{ entity }}, day_end_at, min(known_at) as known_at
    from touched_days
    group by 1, 2
),

causes as (
    select
        {{ entity }},
        day_end_at + span_days * interval '1 day' as features_at,
        known_at,
        case when span_days = 0 then known_at end as active_day_known_at
    from active_days
    cross join spans
    union all
    select {{ entity }}, known_at, known_at, null
    from other_changes
    where {{ entity }} in (select {{ entity }} from touched)
),

changes as (
    select
        {{ entity }},
        features_at,
        greatest(features_at, min(known_at)) as first_created_at,
        min(active_day_known_at) as active_day_known_at
    from causes
    cross join horizon
    where features_at <= horizon_at
    group by 1, 2
),

late_deliveries as (
    select {{ entity }}, known_at as delivered_at, min(day_end_at) as first_features_at
    from touched_days
    where known_at > day_end_at
    group by 1, 2
),

versions as (
    select {{ entity }}, features_at, first_created_at as created_at, active_day_known_at
    from changes
    union all
    select changes.{{ entity }}, changes.features_at, late_deliveries.delivered_at, changes.active_day_known_at
    from changes
    inner join late_deliveries
        on
            changes.{{ entity }} = late_deliveries.{{ entity }}
            and changes.features_at >= late_deliveries.first_features_at
            and changes.first_created_at < late_deliveries.delivered_at
),

final as (
    select
        {{ entity }},
        features_at,
        created_at,
        coalesce(active_day_known_at <= created_at, false) as is_after_active_day
    from versions
    {% if is_incremental() %}
    where created_at > {{ window_start() }}
    {% endif %}
)

select * from final
{% endmacro %}
