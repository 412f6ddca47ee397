{# Every version of the rows of `relation`: a delivery that repeats what was known is dropped, and `superseded_at` is the `known_at` of the
   next delivery of the same key, null for the version that stands. #}
{% macro row_versions(relation, key, columns) %}
    select
        {{ (key + columns) | join(', ') }},
        known_at,
        lead(known_at) over (partition by {{ key | join(', ') }} order by known_at) as superseded_at
    from (
        select
            *,
            row_number() over deliveries > 1
            {%- for column in columns %}
            and {{ column }} is not distinct from lag({{ column }}) over deliveries
            {%- endfor %} as is_repeat
        from {{ relation }}
        window deliveries as (partition by {{ key | join(', ') }} order by known_at)
    ) as deliveries
    where not is_repeat
{% endmacro %}

{# Whether version `row` of something stood at the time `at`; needs `in_force_until`, which is infinite for the version that stands. #}
{% macro in_force(row, at) -%}
    {{ row }}.known_at <= {{ at }} and {{ row }}.in_force_until > {{ at }}
{%- endmacro %}

{% macro in_force_until() -%}
    coalesce(superseded_at, cast('infinity' as timestamp)) as in_force_until
{%- endmacro %}

{# The versions of users whose history is not a stretch of what finally stands: a row of `rows` that happened before their end was late,
   corrected or taken away. `at` is the column that says when a row happened. #}
{% macro versions_of_another_history(versions, rows, at) %}
    select distinct versions.user_id, versions.features_at, versions.created_at
    from {{ versions }} as versions
    inner join (
        select user_id, {{ at }}, known_at, in_force_until
        from {{ rows }}
        where known_at > occurred_date + 1 or in_force_until < cast('infinity' as timestamp)
    ) as unsettled
        on
            versions.user_id = unsettled.user_id
            and versions.features_at > unsettled.{{ at }}
            and case
                when unsettled.in_force_until = cast('infinity' as timestamp) then unsettled.known_at > versions.created_at
                else {{ in_force('unsettled', 'versions.created_at') }}
            end
{% endmacro %}
