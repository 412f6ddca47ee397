{% set counters = ['events', 'views', 'favourites', 'carts', 'purchases', 'returns', 'sessions'] %}
{% set lists = {'day_numbers': ["occurred_date - cast('1970-01-01' as date)", 'bigint'], 'daily_spend': ['spend', 'double precision']} %}
{% for counter in counters %}{% do lists.update({'daily_' ~ counter: [counter, 'bigint']}) %}{% endfor %}
{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- As in user_sequences: what finally stands is put in order once for each user and cut; versions that differed are put together one by one.
with

versions as (
    select user_id, features_at, created_at
    from (
        {{ versions_to_build(ref('user_sequences'), 'user_id') }}
    ) as sequences
),

days as (
    select * from {{ ref('int_user_days') }}
    where user_id in (select user_id from versions)
),

standing as (
    select
        *,
        row_number() over (partition by user_id order by occurred_date) as place,
        count(*) over (
            partition by user_id order by occurred_date range between interval '89 days' preceding and current row
        ) as places
    from days
    where in_force_until = cast('infinity' as timestamp) and events > 0
),

differing as (
    {{ versions_of_another_history('versions', 'days', 'occurred_date') }}
),

plain as (
    select versions.user_id, versions.features_at, versions.created_at, standing.place, standing.places
    from versions
    inner join standing
        on versions.user_id = standing.user_id and cast(versions.features_at as date) = standing.occurred_date + 1
    where not exists (select 1 from differing where {{ same_version('versions', 'differing', 'user_id') }})
),

ordered as (
    {{ lists_in_order('standing', ['user_id'], lists, 'place') }}
),

cut as (
    select
        plain.user_id,
        plain.features_at,
        plain.created_at,
        ordered.day_numbers[plain.place - plain.places + 1:plain.place] as day_numbers,
        {% for counter in counters %}
            ordered.daily_{{ counter }}[plain.place - plain.places + 1:plain.place] as daily_{{ counter }},
        {% endfor -%}
        ordered.daily_spend[plain.place - plain.places + 1:plain.place] as daily_spend
    from plain
    inner join ordered on plain.user_id = ordered.user_id
),

one_by_one as (
    select user_id, features_at, created_at from versions
    except
    select user_id, features_at, created_at from plain
),

-- an active day can turn out to have been somebody else's: its version stays, and may be left without a day
put_together as (
    select
        one_by_one.user_id,
        one_by_one.features_at,
        one_by_one.created_at,
        {{ list_of_days("days.occurred_date - cast('1970-01-01' as date)", 'bigint') }} as day_numbers,
        {% for counter in counters %}
            {{ list_of_days('days.' ~ counter, 'bigint') }} as daily_{{ counter }},
        {% endfor -%}
        {{ list_of_days('days.spend', 'double precision') }} as daily_spend
    from one_by_one
    left join days
        on
            one_by_one.user_id = days.user_id
            and one_by_one.features_at > days.occurred_date
            and days.occurred_date >= cast(one_by_one.features_at as date) - 90
            and {{ in_force('days', 'one_by_one.created_at') }}
            and days.events > 0
    group by 1, 2, 3
),

final as (
    select * from cut
    union all
    select * from put_together
)

select * from final
