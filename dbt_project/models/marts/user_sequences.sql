{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

with

versions as (
    {{ versions_to_build(ref('int_user_feature_versions')) }}
),

-- versions and events go by numbers from here: histories are the longest rows of the project, and text keys cost a third of its time
active_versions as (
    select
        user_id,
        features_at,
        created_at,
        row_number() over (order by user_id, features_at, created_at) as version_number
    from versions
    where is_after_active_day
),

events as (
    select *, row_number() over (partition by user_id order by occurred_at, event_id, known_at) as event_number
    from {{ ref('int_event_versions') }}
    where user_id in (select user_id from active_versions)
),

items as (
    select * from {{ ref('int_item_versions') }}
),

histories as (
    select
        active_versions.version_number,
        active_versions.created_at,
        events.event_number,
        events.item_id,
        events.event_type,
        events.occurred_at,
        events.unit_price,
        row_number() over (partition by active_versions.version_number order by events.event_number desc) as steps_back
    from active_versions
    inner join events
        on
            active_versions.user_id = events.user_id
            and active_versions.features_at > events.occurred_at
            and {{ in_force('events', 'active_versions.created_at') }}
),

lists as (
    select
        histories.version_number,
        {{ list_of('histories.item_id', 'varchar', 'histories.event_number') }} as event_item_ids,
        {{ list_of('histories.event_type', 'varchar', 'histories.event_number') }} as event_types,
        {{ list_of(epoch_us('histories.occurred_at'), 'bigint', 'histories.event_number') }} as event_times_us,
        {{ list_of('coalesce(histories.unit_price, items.price, 0)', 'double precision', 'histories.event_number') }} as event_prices,
        {{ list_of("coalesce(items.top_category, '')", 'varchar', 'histories.event_number') }} as event_categories
    from histories
    left join items
        on histories.item_id = items.item_id and {{ in_force('items', 'histories.created_at') }}
    where histories.steps_back <= {{ var('sequence_length') }}
    group by 1
),

final as (
    select
        active_versions.user_id,
        active_versions.features_at,
        active_versions.created_at,
        lists.event_item_ids,
        lists.event_types,
        lists.event_times_us,
        lists.event_prices,
        lists.event_categories
    from active_versions
    inner join lists on active_versions.version_number = lists.version_number
)

select * from final
