{% set values = ['user_id', 'item_id', 'event_type', 'occurred_at', 'session_id', 'quantity', 'unit_price', 'rating'] %}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=['{{ forget_known() }}', '{{ reopen_superseded() }}'],
    post_hook="{{ close_superseded(['event_id']) }}"
) }}

with

deliveries as (
    select event_id, {{ values | join(', ') }}, known_at
    from {{ ref('stg_events') }}
    {% if is_incremental() %}
    where known_at > {{ window_start() }}
    union all
    select event_id, {{ values | join(', ') }}, known_at
    from {{ this }}
    where
        in_force_until = cast('infinity' as timestamp)
        and event_id in (select event_id from {{ ref('stg_events') }} where known_at > {{ window_start() }})
    {% endif %}
),

versions as (
    {{ row_versions('deliveries', ['event_id'], values) }}
),

final as (
    select
        event_id,
        user_id,
        item_id,
        event_type,
        occurred_at,
        cast(occurred_at as date) as occurred_date,
        session_id,
        quantity,
        unit_price,
        rating,
        cast(
            case event_type when 'purchase' then 1 when 'return' then -1 else 0 end
            * coalesce(quantity, 1) * coalesce(unit_price, 0)
            as decimal(18, 4)
        ) as spend,
        known_at,
        {{ in_force_until() }}
    from versions
    {% if is_incremental() %}
    where known_at > {{ window_start() }}
    {% endif %}
)

select * from final
