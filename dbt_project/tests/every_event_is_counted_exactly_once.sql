-- Harm prevented: events lost or doubled between landing and marts, by an incremental build above all.
with

counted as (
    select user_id as entity_id, 'user' as entity, events_total
    from (
        select *, row_number() over (partition by user_id order by features_at desc, created_at desc) as place
        from {{ ref('user_features') }}
    ) as versions
    where place = 1
    union all
    select item_id, 'item', events_total
    from (
        select *, row_number() over (partition by item_id order by features_at desc, created_at desc) as place
        from {{ ref('item_features') }}
    ) as versions
    where place = 1
),

happened as (
    select * from {{ ref('int_event_versions') }}
    where
        in_force_until = cast('infinity' as timestamp)
        and cast(occurred_date + 1 as timestamp) <= (select horizon_at from {{ ref('int_horizon') }})
),

expected as (
    select user_id as entity_id, 'user' as entity, count(*) as events from happened where user_id is not null group by 1
    union all
    select item_id, 'item', count(*) from happened group by 1
)

select counted.*, expected.events
from counted
full outer join expected
    on counted.entity_id = expected.entity_id and counted.entity = expected.entity
where coalesce(counted.events_total, 0) <> coalesce(expected.events, 0)
