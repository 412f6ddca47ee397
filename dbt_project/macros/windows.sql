{# The name of a column's sum over the `days` days before features_at, or over all days. #}
{% macro window_name(column, days=none) -%}
    {{ column }}_{{ days ~ 'd' if days else 'total' }}
{%- endmacro %}

{# Totals of a day's column over the `days` days before features_at (all days where none is given), for a `versions left join days`. #}
{% macro total(column, days=none) -%}
    cast(coalesce(sum(days.{{ column }}) {{ within(days) }}, 0) as bigint) as {{ window_name(column, days) }}
{%- endmacro %}

{# The same in money. The sum is of decimals, so that no order of adding up changes its last digit. #}
{% macro money_total(column, days=none) -%}
    cast(coalesce(sum(days.{{ column }}) {{ within(days) }}, 0) as double precision) as {{ window_name(column, days) }}
{%- endmacro %}

{% macro within(days, rows='days') -%}
    {% if days %}filter (where {{ rows }}.occurred_date >= cast(versions.features_at as date) - {{ days }}){% endif %}
{%- endmacro %}

{# The first midnight at or after a time: when everything that happened before that time is known, unless it comes late. #}
{% macro midnight_after(at) -%}
    cast(date_trunc('day', {{ at }} + interval '1 day' - interval '1 microsecond') as timestamp)
{%- endmacro %}
