{% set kinds = {'viewed': 'view', 'carted': 'cart', 'purchased': 'purchase'} %}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{% if is_incremental() %} delete from {{ this }}
        where known_at > {{ window_start() }}
            or outcome_30d_at > {{ window_start() }}
            or outcome_30d_at > (select coalesce(max(horizon_at), cast('-infinity' as timestamp)) from {{ ref('int_horizon') }})
            or decision_id in (select decision_id from {{ ref('stg_decisions') }} where known_at > {{ window_start() }}) {% endif %}"
) }}

-- An outcome is what was known at the first midnight after its days were over, and null until then; so it never changes, and no figure of
-- today's decisions rests on tomorrow's corrections.
with

horizon as (
    select coalesce(max(horizon_at), cast('-infinity' as timestamp)) as horizon_at from {{ ref('int_horizon') }}
),

decisions as (
    select
        *,
        {{ midnight_after("decided_at + interval '1 day'") }} as outcome_1d_at,
        {{ midnight_after("decided_at + interval '7 days'") }} as outcome_7d_at,
        {{ midnight_after("decided_at + interval '30 days'") }} as outcome_30d_at,
        kind = 'recommendation' and user_id is not null as is_of_item,
        coalesce(rank, 0) as place
    from {{ ref('stg_decisions') }}
    where
        superseded_at is null
    {% if is_incremental() %}
        and decision_id not in (select decision_id from {{ this }})
    {% endif %}
),

events as (
    select * from {{ ref('int_event_versions') }}
),

-- whose days are over, and whose outcomes somebody can know
closed as (
    select
        decisions.decision_id,
        decisions.is_of_item and decisions.outcome_1d_at <= horizon.horizon_at as is_after_1d,
        decisions.is_of_item and decisions.outcome_7d_at <= horizon.horizon_at as is_after_7d,
        decisions.outcome_30d_at <= horizon.horizon_at as is_after_30d
    from decisions
    cross join horizon
),

-- what the user did with the item shown, in each of the two stretches of days
responses as (
    select
        decisions.decision_id,
        events.event_type,
        events.spend,
        events.occurred_at < decisions.decided_at + interval '1 day'
        and {{ in_force('events', 'decisions.outcome_1d_at') }} as is_within_1d,
        {{ in_force('events', 'decisions.outcome_7d_at') }} as is_within_7d
    from decisions
    inner join events
        on
            decisions.user_id = events.user_id
            and decisions.subject = events.item_id
            and decisions.decided_at < events.occurred_at
            and decisions.decided_at + interval '7 days' > events.occurred_at
    where decisions.is_of_item
),

by_decision as (
    select
        decision_id,
        {% for name, type in kinds.items() %}
            bool_or(event_type = '{{ type }}' and is_within_1d) as is_{{ name }}_1d,
            bool_or(event_type = '{{ type }}' and is_within_7d) as is_{{ name }}_7d,
        {% endfor -%}
        sum(spend) filter (where is_within_1d) as spend_1d,
        sum(spend) filter (where is_within_7d) as spend_7d
    from responses
    group by 1
),

-- the campaign in which the user was assigned the offer shown
exposures as (
    select
        decisions.decision_id,
        exposures.campaign_id,
        exposures.is_visited,
        exposures.is_converted,
        exposures.spend,
        row_number() over (
            partition by decisions.decision_id order by exposures.assigned_at, {{ by_bytes('exposures.campaign_id') }}
        ) as place
    from decisions
    inner join {{ ref('stg_campaign_exposures') }} as exposures
        on
            decisions.user_id = exposures.user_id
            and decisions.subject = exposures.treatment
            and decisions.decided_at <= exposures.assigned_at
            and decisions.decided_at + interval '7 days' > exposures.assigned_at
            and decisions.outcome_30d_at >= exposures.known_at
            and decisions.outcome_30d_at < coalesce(exposures.superseded_at, cast('infinity' as timestamp))
    where decisions.kind = 'offer'
),

final as (
    select
        decisions.decision_id,
        decisions.decided_at,
        decisions.known_at,
        decisions.user_id,
        decisions.kind,
        decisions.subject,
        cast(decisions.place as bigint) as rank,
        decisions.score,
        decisions.propensity,
        decisions.arm,
        decisions.model,
        decisions.model_version,
        decisions.features_at,
        decisions.reason,
        decisions.outcome_1d_at,
        {% for name in kinds %}
            case when closed.is_after_1d then coalesce(by_decision.is_{{ name }}_1d, false) end as is_{{ name }}_1d,
        {% endfor -%}
        case when closed.is_after_1d then cast(coalesce(by_decision.spend_1d, 0) as double precision) end as spend_1d,
        decisions.outcome_7d_at,
        {% for name in kinds %}
            case when closed.is_after_7d then coalesce(by_decision.is_{{ name }}_7d, false) end as is_{{ name }}_7d,
        {% endfor -%}
        case when closed.is_after_7d then cast(coalesce(by_decision.spend_7d, 0) as double precision) end as spend_7d,
        decisions.outcome_30d_at,
        case when closed.is_after_30d then exposures.campaign_id end as campaign_id,
        case when closed.is_after_30d then exposures.is_visited end as is_visited,
        case when closed.is_after_30d then exposures.is_converted end as is_converted,
        case when closed.is_after_30d then exposures.spend end as campaign_spend
    from decisions
    inner join closed on decisions.decision_id = closed.decision_id
    left join by_decision on decisions.decision_id = by_decision.decision_id
    left join exposures on decisions.decision_id = exposures.decision_id and exposures.place = 1
)

select * from final
