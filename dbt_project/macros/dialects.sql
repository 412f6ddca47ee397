{# What DuckDB and Postgres spell differently. #}

{% macro epoch_us(column) -%}{{ adapter.dispatch('epoch_us')(column) }}{%- endmacro %}
{% macro duckdb__epoch_us(column) -%}epoch_us({{ column }}){%- endmacro %}
{% macro postgres__epoch_us(column) -%}cast(extract(epoch from {{ column }}) * 1000000 as bigint){%- endmacro %}

{# Text in the order of its bytes, whatever the server's locale. #}
{% macro by_bytes(text) -%}{{ adapter.dispatch('by_bytes')(text) }}{%- endmacro %}
{% macro duckdb__by_bytes(text) -%}{{ text }}{%- endmacro %}
{% macro postgres__by_bytes(text) -%}({{ text }}) collate "C"{%- endmacro %}

{# A list of `value` in the given order, typed so that contracts hold. #}
{% macro list_of(value, type, order_by) -%}
    cast(array_agg({{ value }} order by {{ order_by }}) as {{ type }}[])
{%- endmacro %}

{# Lists of several columns of `rows`, by `keys`, all in the order of `place`: `lists` is {name: [value, type]}. DuckDB orders each list of a
   group for itself, and slowly; one list of rows, sorted once and taken apart, costs a tenth of the memory. #}
{% macro lists_in_order(rows, keys, lists, place) -%}{{ adapter.dispatch('lists_in_order')(rows, keys, lists, place) }}{%- endmacro %}
{% macro duckdb__lists_in_order(rows, keys, lists, place) %}
    select
        {{ keys | join(', ') }},
        {% for list, (value, type) in lists.items() %}
            cast([entry.{{ list }} for entry in in_order] as {{ type }}[]) as {{ list }}{{ ',' if not loop.last }}
        {% endfor %}
    from (
        select
            {{ keys | join(', ') }},
            list_sort(array_agg(struct_pack(
                place := {{ place }}{% for list, (value, type) in lists.items() %}, {{ list }} := {{ value }}{% endfor %}
            ))) as in_order
        from {{ rows }}
        group by {{ range(1, keys | length + 1) | join(', ') }}
    ) as sorted
{% endmacro %}
{% macro postgres__lists_in_order(rows, keys, lists, place) %}
    select
        {{ keys | join(', ') }},
        {% for list, (value, type) in lists.items() %}
            {{ list_of(value, type, place) }} as {{ list }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ rows }}
    group by {{ range(1, keys | length + 1) | join(', ') }}
{% endmacro %}

{# The same of a `days` that was joined and may be missing: an empty list then. #}
{% macro list_of_days(value, type) -%}
    coalesce(
        cast(array_agg({{ value }} order by days.occurred_date) filter (where days.occurred_date is not null) as {{ type }}[]),
        {{ empty_list(type) }}
    )
{%- endmacro %}

{% macro empty_list(type) -%}cast(array[] as {{ type }}[]){%- endmacro %}

{# The `number` largest values of a group, largest first. #}
{% macro largest(value, number) -%}{{ adapter.dispatch('largest')(value, number) }}{%- endmacro %}
{% macro duckdb__largest(value, number) -%}max({{ value }}, {{ number }}){%- endmacro %}
{% macro postgres__largest(value, number) -%}(array_agg({{ value }} order by {{ value }} desc))[1:{{ number }}]{%- endmacro %}

{# A list of what `expression` makes of each `item` of a list, in its order. #}
{% macro each(list, expression) -%}{{ adapter.dispatch('each')(list, expression) }}{%- endmacro %}
{% macro duckdb__each(list, expression) -%}[{{ expression }} for item in {{ list }}]{%- endmacro %}
{% macro postgres__each(list, expression) -%}
    array(select {{ expression }} from unnest({{ list }}) with ordinality as items (item, place) order by place)
{%- endmacro %}
