{# Rows of days, whatever is asked of them as of a time, without a join of every version with every day of its past.

   Nearly every day of an entity is settled: it became known the midnight after it and was never corrected. What stands in the end, summed
   up to features_at, is then what was known at any created_at from that time on. Only rows of unsettled days are told otherwise: until it
   became known a late row was missing, and a row that was superseded stood. Such a row matters to no version but those with
   features_at <= created_at < until, so it is laid on each of these midnights once, and found there by equality.

   Worked example: a day's row of 1 May, 2 events, was late and became known on 4 May. It stands, so sums up to 2, 3 and 4 May count it; as of
   2 and 3 May they must not: (1 May, from -infinity, until 4 May, -2 events), laid on 2 and 3 May. #}

{# What is not as it finally stands: for each day of `days`, the times between which `columns` have to be added to what stands. #}
{% macro unsettled_rows(entity, days, columns=[]) %}
    select
        {{ entity }},
        occurred_date,
        {% for column in columns %}
            -{{ column }} as {{ column }},
        {% endfor %}
        cast('-infinity' as timestamp) as known_at,
        known_at as in_force_until
    from {{ days }}
    where in_force_until = cast('infinity' as timestamp) and known_at > occurred_date + 1
    union all
    select
        {{ entity }},
        occurred_date,
        {% for column in columns %}
            {{ column }},
        {% endfor %}
        known_at,
        in_force_until
    from {{ days }}
    where in_force_until < cast('infinity' as timestamp)
{% endmacro %}

{# `rows` on every midnight of `versions` at which they have to be added. #}
{% macro laid_on_midnights(rows, versions) %}
    select {{ rows }}.*, midnights.features_at
    from {{ rows }}
    inner join (select distinct features_at from {{ versions }}) as midnights
        on {{ rows }}.occurred_date < midnights.features_at and {{ rows }}.in_force_until > midnights.features_at
{% endmacro %}
