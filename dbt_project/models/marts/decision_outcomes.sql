{% set item_outcomes = ['is_viewed', 'is_carted', 'is_purchased', 'spend'] %}
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
        {% for days in (1, 7, 30) -%}
            {{ midnight_after("decided_at + interval '" ~ days ~ " days'") }} as outcome_{{ days }}d_at,
        {% endfor -%}
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

-- what the user did with the item shown, in each of the two stretches of days
responses as (
    select
        decisions.decision_id,
        events.event_type,
        events.spend,
        events.occurred_at < decisions.decided_at + interval '1 day' and {{ in_force('events', 'decisions.outcome_1d_at') }} as is_within_1d,
        {{ in_force('events', 'decisions.outcome_7d_at') }} as is_within_7d
    from decisions
    inner join events
        on
            decisions.user_id = events.user_id
            and decisions.subject = events.item_id
            and decisions.decided_at < events.occurred_at
            and decisions.decided_at + interval '7 days' > events.occurred_at
    where decisions.kind = 'recommendation'
),

by_decision as (
    select
        decision_id,
        {% for days in (1, 7) -%}
            {% for name, type in {'viewed': 'view', 'carted': 'cart', 'purchased': 'purchase'}.items() -%}
                bool_or(event_type = '{{ type }}' and is_within_{{ days }}d) as is_{{ name }}_{{ days }}d,
            {% endfor -%}
            cast(sum(spend) filter (where is_within_{{ days }}d) as double precision) as spend_{{ days }}d{{ ',' if not loop.last }}
        {% endfor %}
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
        {% for days in (1, 7) -%}
            decisions.outcome_{{ days }}d_at,
            {% for outcome in item_outcomes -%}
                case
                    when
                        decisions.kind = 'recommendation'
                        and decisions.user_id is not null
                        and decisions.outcome_{{ days }}d_at <= horizon.horizon_at
                        then coalesce(by_decision.{{ outcome }}_{{ days }}d, {{ 0 if outcome == 'spend' else 'false' }})
                end as {{ outcome }}_{{ days }}d,
            {% endfor -%}
        {% endfor -%}
        decisions.outcome_30d_at,
        {% for column, outcome in {'campaign_id': 'campaign_id', 'is_visited': 'is_visited', 'is_converted': 'is_converted', 'spend': 'campaign_spend'}.items() -%}
            case when decisions.outcome_30d_at <= horizon.horizon_at then exposures.{{ column }} end as {{ outcome }}{{ ',' if not loop.last }}
        {% endfor %}
    from decisions
    cross join horizon
    left join by_decision on decisions.decision_id = by_decision.decision_id
    left join exposures on decisions.decision_id = exposures.decision_id and exposures.place = 1
)

select * from final
