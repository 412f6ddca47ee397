{# What needs more memory than there is, is built in parts: the same statement over, each time for the entities of one part. DuckDB keeps
   lists, distinct values and medians of a statement's groups in memory, so a model of these holds `in_part` where it chooses what to build.
   quality/transform.py gives `parts` by the number of events and the memory. Postgres works in its own `work_mem`, and has one part. #}
{% macro in_part(key) -%}{{ adapter.dispatch('in_part')(key) }}{%- endmacro %}
{% macro duckdb__in_part(key) -%}
    {% if var('parts') > 1 %}hash({{ key }}) % {{ var('parts') }} = __part__{% else %}true{% endif %}
{%- endmacro %}
{% macro postgres__in_part(key) -%}true{%- endmacro %}

{# dbt-duckdb's own macro, with the other parts added to the table. #}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
    {{ dbt.duckdb__create_table_as(temporary, relation, compiled_code | replace('__part__', '0'), language, partitioned_by, sorted_by) }}
    {% if '__part__' in compiled_code %}
        {% for part in range(1, var('parts')) %}
            insert into {{ relation.include(database=not temporary, schema=not temporary) }} by name
            select * from (
                {{ compiled_code | replace('__part__', part | string) }}
            ) as part;
        {% endfor %}
    {% endif %}
{%- endmacro %}
