{# Schemas are named exactly as the folders say (`staging`, `intermediate`, `marts`), in every target. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name if custom_schema_name else target.schema }}
{%- endmacro %}
