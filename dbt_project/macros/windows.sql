{# Totals of a day's column over the `days` days before features_at (all days where none is given), for a `versions left join days`. #}
{% macro total(column, days=none) -%}
    cast(coalesce(sum(days.{{ column }}) {{ _within(days) }}, 0) as bigint) as {{ column }}_{{ days ~ 'd' if days else 'total' }}
{%- endmacro %}

{# The same in money. The sum is of decimals, so that no order of adding up changes its last digit. #}
{% macro money_total(column, days=none) -%}
    cast(coalesce(sum(days.{{ column }}) {{ _within(days) }}, 0) as double precision) as {{ column }}_{{ days ~ 'd' if days else 'total' }}
{%- endmacro %}

{% macro _within(days) -%}
    {% if days %}filter (where days.occurred_date >= cast(versions.features_at as date) - {{ days }}){% endif %}
{%- endmacro %}
