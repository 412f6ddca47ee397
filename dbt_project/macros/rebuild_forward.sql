{# Versions of features never change once known; what a load changes became known after the load's first midnight. So an incremental model
   forgets every version created after that midnight, then builds every version newer than the newest one it still has. That newest one is read
   from the table itself: days skipped between two loads, and a build that died half-way, are caught up too. #}

{% macro forget_versions() %}
    {% if is_incremental() %}
    delete from {{ this }}
    where created_at > cast('{{ var("window_start") }}' as timestamp)
        or created_at > (select coalesce(max(horizon_at), cast('-infinity' as timestamp)) from {{ ref('int_horizon') }})
    {% endif %}
{% endmacro %}

{% macro built_until() -%}
    (select coalesce(max(created_at), cast('-infinity' as timestamp)) from {{ this }})
{%- endmacro %}

{# The versions of `spine` that an incremental model lacks; all of them on a first build or a full refresh. #}
{% macro versions_to_build(spine) %}
    -- depends_on: {{ ref('int_horizon') }}
    select *
    from {{ spine }}
    {% if is_incremental() %}
    where created_at > {{ built_until() }}
    {% endif %}
{% endmacro %}

{% macro same_version(left, right, entity) -%}
    {{ left }}.{{ entity }} = {{ right }}.{{ entity }}
    and {{ left }}.features_at = {{ right }}.features_at
    and {{ left }}.created_at = {{ right }}.created_at
{%- endmacro %}
