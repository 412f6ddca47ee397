{# What DuckDB and Postgres spell differently. #}

{% macro epoch_us(column) -%}{{ adapter.dispatch('epoch_us')(column) }}{%- endmacro %}
{% macro duckdb__epoch_us(column) -%}epoch_us({{ column }}){%- endmacro %}
{% macro postgres__epoch_us(column) -%}cast(extract(epoch from {{ column }}) * 1000000 as bigint){%- endmacro %}

{# A list of `value` in the given order, typed so that contracts hold. #}
{% macro list_of(value, type, order_by) -%}
    cast(array_agg({{ value }} order by {{ order_by }}) as {{ type }}[])
{%- endmacro %}

{% macro empty_list(type) -%}cast(array[] as {{ type }}[]){%- endmacro %}
