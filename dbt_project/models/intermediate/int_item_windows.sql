{% set counters = ['views', 'events', 'purchases', 'rating_sum', 'ratings'] %}
{% set windows = [
    ('views', 7), ('events', 7), ('events', 30), ('events', 90), ('purchases', 7), ('purchases', 30), ('purchases', 90),
    ('events', none), ('purchases', none), ('rating_sum', none), ('ratings', none),
] %}
{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- noqa: disable=LT02
-- (the linter cannot place a loop that ends a list of columns)
-- Popular items have an event on every day and late ones in every delivery: see macros/settled.sql.
with

versions as (
    {{ versions_to_build(ref('int_item_feature_versions'), 'item_id') }}
),

days as (
    select * from {{ ref('int_item_days') }}
    where item_id in (select item_id from versions)
),

days_and_questions as (
    select item_id, occurred_date as at_date, {{ counters | join(', ') }}, false as is_question
    from days
    where in_force_until = cast('infinity' as timestamp)
    union all
    select distinct item_id, cast(features_at as date), {{ ('0, ' * counters | length) }} true
    from versions
),

standing as (
    select
        item_id,
        cast(at_date as timestamp) as features_at,
        is_question,
        {% for column, days in windows %}
            sum({{ column }}) over (
                partition by item_id
                order by at_date
                range between {{ "interval '" ~ days ~ " days'" if days else 'unbounded' }} preceding and interval '1 day' preceding
            ) as {{ window_name(column, days) }}{{ ',' if not loop.last }}
        {% endfor %}
    from days_and_questions
),

unsettled as (
    {{ unsettled_rows('item_id', 'days', counters) }}
),

unsettled_at as (
    {{ laid_on_midnights('unsettled', 'versions') }}
),

corrections as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        {% for column, days in windows %}
            sum(unsettled_at.{{ column }}) {{ within(days, 'unsettled_at') }} as {{ window_name(column, days) }}{{ ',' if not loop.last }}
        {% endfor %}
    from versions
    inner join unsettled_at
        on
            versions.item_id = unsettled_at.item_id
            and versions.features_at = unsettled_at.features_at
            and {{ in_force('unsettled_at', 'versions.created_at') }}
    group by 1, 2, 3
),

known as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        {% for column, days in windows %}
            {% set name = window_name(column, days) %}
            coalesce(standing.{{ name }}, 0) + coalesce(corrections.{{ name }}, 0) as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from versions
    inner join standing
        on versions.item_id = standing.item_id and versions.features_at = standing.features_at and standing.is_question
    left join corrections
        on {{ same_version('versions', 'corrections', 'item_id') }}
),

final as (
    select
        item_id,
        features_at,
        created_at,
        {% for column, days in windows if column not in ('rating_sum', 'ratings') %}
            cast({{ window_name(column, days) }} as bigint) as {{ window_name(column, days) }},
        {% endfor %}
        cast(rating_sum_total as double precision) / nullif(ratings_total, 0) as rating_mean
    from known
)

select * from final
