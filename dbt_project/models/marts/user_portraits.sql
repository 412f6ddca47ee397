{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{% if is_incremental() %} delete from {{ this }} where created_at > {{ window_start() }} {% endif %}"
) }}

-- Every version of a portrait stays, so that what was said of a user at any time can be asked again.
with

portraits as (
    select * from {{ ref('stg_portraits') }}
),

final as (
    select
        user_id,
        as_of as features_at,
        greatest(known_at, as_of) as created_at,
        model_version,
        vector,
        portrait
    from portraits
    {% if is_incremental() %}
    where greatest(known_at, as_of) > {{ window_start() }}
    {% endif %}
)

select * from final
