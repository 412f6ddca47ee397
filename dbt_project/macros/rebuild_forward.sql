{# What became known up to a midnight never changes afterwards; a load changes only what became known after its first midnight, `window_start`.
   So an incremental model forgets everything newer than that midnight and builds it again. quality/transform.py gives a `window_start` no
   later than the first day that no build has seen, so days skipped between two builds, and a build that died half-way, are caught up too. #}

{% macro window_start() -%}
    cast('{{ var("window_start") }}' as timestamp)
{%- endmacro %}

{# pre_hook of versions of features: forgets what became known after the window's start, or after anything is known at all any more. #}
{% macro forget_versions() %}
    {% if is_incremental() %}
    delete from {{ this }}
    where created_at > {{ window_start() }}
        or created_at > (select coalesce(max(horizon_at), cast('-infinity' as timestamp)) from {{ ref('int_horizon') }})
    {% endif %}
{% endmacro %}

{# The versions of `spine` that an incremental model lacks, all of them on a first build or a full refresh; of the part of the entities that is
   being built, where a `key` is given. #}
{% macro versions_to_build(spine, key=none) %}
    -- depends_on: {{ ref('int_horizon') }}
    select *
    from {{ spine }}
    where
        {{ in_part(key) if key else 'true' }}
    {% if is_incremental() %}
        and created_at > {{ window_start() }}
    {% endif %}
{% endmacro %}

{% macro same_version(left, right, entity) -%}
    {{ left }}.{{ entity }} = {{ right }}.{{ entity }}
    and {{ left }}.features_at = {{ right }}.features_at
    and {{ left }}.created_at = {{ right }}.created_at
{%- endmacro %}

{# pre_hooks of rows that stand from known_at until in_force_until: forgets what became known after the window's start ... #}
{% macro forget_known() %}
    {% if is_incremental() %}
    delete from {{ this }} where known_at > {{ window_start() }}
    {% endif %}
{% endmacro %}

{# ... lets what it had superseded stand again ... #}
{% macro reopen_superseded() %}
    {% if is_incremental() %}
    update {{ this }} set in_force_until = cast('infinity' as timestamp)
    where in_force_until > {{ window_start() }} and in_force_until < cast('infinity' as timestamp)
    {% endif %}
{% endmacro %}

{# ... and, as post_hook, ends each old row of a `key` where the first new one begins. #}
{% macro close_superseded(key) %}
    {% if is_incremental() %}
    update {{ this }} as earlier set in_force_until = later.known_at
    from (
        select {{ key | join(', ') }}, min(known_at) as known_at
        from {{ this }}
        where known_at > {{ window_start() }}
        group by {{ key | join(', ') }}
    ) as later
    where {% for column in key %}earlier.{{ column }} = later.{{ column }} and {% endfor %}
        earlier.known_at <= {{ window_start() }}
        and earlier.in_force_until = cast('infinity' as timestamp)
    {% endif %}
{% endmacro %}

{# pre_hook of a mart of whole days (`day_at`, `known_at` of all its rows): forgets every day of which anything became known, or stopped being
   in force, after the window's start. #}
{% macro forget_changed_days() %}
    {% if is_incremental() %}
    delete from {{ this }}
    where day_at in (
        select day_at from {{ this }} where known_at > {{ window_start() }}
        union
        select cast(occurred_date as timestamp)
        from {{ ref('int_event_versions') }}
        where
            known_at > {{ window_start() }}
            or (in_force_until > {{ window_start() }} and in_force_until < cast('infinity' as timestamp))
    )
    {% endif %}
{% endmacro %}
