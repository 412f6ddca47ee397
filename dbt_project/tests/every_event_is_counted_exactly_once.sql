-- Harm prevented: events lost or doubled between landing and marts, by an incremental build above all. Asked of all whose events are news.
with

newly_known as (
    select user_id as entity_id, 'user' as entity from {{ ref('int_event_versions') }}
    where user_id is not null and known_at > {{ window_start() }}
    union
    select item_id, 'item' from {{ ref('int_event_versions') }}
    where known_at > {{ window_start() }}
),

counted as (
    select entity_id, entity, events_total
    from (
        select *, row_number() over (partition by entity, entity_id order by features_at desc, created_at desc) as place
        from (
            select user_id as entity_id, 'user' as entity, features_at, created_at, events_total
            from {{ ref('user_features') }} where created_at > {{ window_start() }}
            union all
            select item_id, 'item', features_at, created_at, events_total
            from {{ ref('item_features') }} where created_at > {{ window_start() }}
        ) as marts
    ) as versions
    where place = 1
),

happened as (
    select user_id, item_id from {{ ref('int_event_versions') }}
    where
        in_force_until = cast('infinity' as timestamp)
        and cast(occurred_date + 1 as timestamp) <= (select horizon_at from {{ ref('int_horizon') }})
),

expected as (
    select newly_known.entity_id, newly_known.entity, count(happened.user_id) as events
    from newly_known
    left join happened on newly_known.entity_id = happened.user_id
    where newly_known.entity = 'user'
    group by 1, 2
    union all
    select newly_known.entity_id, newly_known.entity, count(happened.item_id)
    from newly_known
    left join happened on newly_known.entity_id = happened.item_id
    where newly_known.entity = 'item'
    group by 1, 2
)

select expected.*, counted.events_total
from expected
left join counted
    on expected.entity_id = counted.entity_id and expected.entity = counted.entity
where coalesce(counted.events_total, 0) <> expected.events
