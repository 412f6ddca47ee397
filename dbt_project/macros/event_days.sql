{# Days of an entity on which something about it changed: the day of an event, and the time at which a version of the event became known or
   was superseded. #}
{% macro event_day_changes(entity) %}
    select {{ entity }}, occurred_date, known_at
    from {{ ref('int_event_versions') }}
    where {{ entity }} is not null {% if is_incremental() %} and known_at > {{ window_start() }}{% endif %}

    union
    select {{ entity }}, occurred_date, in_force_until
    from {{ ref('int_event_versions') }}
    where
        {{ entity }} is not null
        and in_force_until < cast('infinity' as timestamp)
        {% if is_incremental() %}
        and in_force_until > {{ window_start() }}
        {% endif %}
{% endmacro %}

{# Events that stood at each of `changes` of their day; one row of nulls where none did any more. #}
{% macro events_at_changes(entity, columns) %}
    select
        changes.{{ entity }},
        changes.occurred_date,
        changes.known_at,
        {% for column in columns -%}
        events.{{ column }}{{ ',' if not loop.last }}
        {% endfor %}
    from changes
    left join {{ ref('int_event_versions') }} as events
        on
            changes.{{ entity }} = events.{{ entity }}
            and changes.occurred_date = events.occurred_date
            and {{ in_force('events', 'changes.known_at') }}
{% endmacro %}

{% macro next_change(entity, days='days') -%}
    coalesce(
        lead({{ days }}.known_at) over (partition by {{ days }}.{{ entity }}, {{ days }}.occurred_date order by {{ days }}.known_at),
        cast('infinity' as timestamp)
    ) as in_force_until
{%- endmacro %}
