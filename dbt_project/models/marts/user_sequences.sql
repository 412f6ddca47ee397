{% set length = var('sequence_length') %}
{% set lists = {
    'event_item_ids': ['item_id', 'varchar'],
    'event_types': ['event_type', 'varchar'],
    'event_times_us': [epoch_us('occurred_at'), 'bigint'],
    'event_prices': ['price', 'double precision'],
    'event_categories': ['top_category', 'varchar'],
} %}
{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- noqa: disable=LT02
-- (the linter cannot place a loop that ends a list of columns)
-- Nearly every version's history is a stretch of what finally stands, so that is put in order once for each user and cut: in blocks as long
-- as a history, each with the block before it. Only versions from which something was missing, or to which something false belonged (a late
-- event, a correction), are put together one by one.
with

versions as (
    select user_id, features_at, created_at
    from (
        {{ versions_to_build(ref('int_user_feature_versions'), 'user_id') }}
    ) as versions
    where is_after_active_day
),

entries as (
    select * from {{ ref('int_user_entries') }}
    where user_id in (select user_id from versions)
),

placed as (
    select *, row_number() over (partition by user_id order by occurred_at, {{ by_bytes('event_id') }}) as place
    from entries
    where in_force_until = cast('infinity' as timestamp)
),

standing as (
    select *, cast(floor((place - 1) / {{ length }}.0) as bigint) as block
    from placed
),

day_ends as (
    select user_id, occurred_date, max(place) as last_place, max(block) as last_block
    from standing
    group by 1, 2
),

differing as (
    {{ versions_of_another_history('versions', 'entries', 'occurred_at') }}
),

plain as (
    select
        versions.user_id,
        versions.features_at,
        versions.created_at,
        day_ends.last_block as block,
        day_ends.last_place - greatest(day_ends.last_block - 1, 0) * {{ length }} as place_in_block
    from versions
    inner join day_ends
        on versions.user_id = day_ends.user_id and cast(versions.features_at as date) = day_ends.occurred_date + 1
    where not exists (select 1 from differing where {{ same_version('versions', 'differing', 'user_id') }})
),

blocks_of_entries as (
    select *, block as of_block from standing
    union all
    select *, block + 1 from standing
),

wanted_entries as (
    select * from blocks_of_entries
    where (user_id, of_block) in (select user_id, block from plain)
),

blocks as (
    {{ lists_in_order('wanted_entries', ['user_id', 'of_block'], lists, 'place') }}
),

cut as (
    select
        plain.user_id,
        plain.features_at,
        plain.created_at,
        {% for list in lists %}
            blocks.{{ list }}[
                greatest(plain.place_in_block + 1 - {{ length }}, 1):plain.place_in_block
            ] as {{ list }}{{ ',' if not loop.last }}
        {% endfor %}
    from plain
    inner join blocks on plain.user_id = blocks.user_id and plain.block = blocks.of_block
),

one_by_one as (
    select user_id, features_at, created_at from versions
    except
    select user_id, features_at, created_at from plain
),

histories as (
    select
        one_by_one.features_at,
        one_by_one.created_at,
        entries.*,
        row_number() over (
            partition by one_by_one.user_id, one_by_one.features_at, one_by_one.created_at
            order by entries.occurred_at desc, {{ by_bytes('entries.event_id') }} desc
        ) as steps_back
    from one_by_one
    inner join entries
        on
            one_by_one.user_id = entries.user_id
            and one_by_one.features_at > entries.occurred_at
            and {{ in_force('entries', 'one_by_one.created_at') }}
),

newest as (
    select * from histories
    where steps_back <= {{ length }}
),

put_together as (
    {{ lists_in_order('newest', ['user_id', 'features_at', 'created_at'], lists, '-steps_back') }}
),

final as (
    select * from cut
    union all
    select * from put_together
)

select * from final
