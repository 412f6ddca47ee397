{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

-- A customer is a buyer from the day after a purchase until the next one of the same item, at most for 30 days: where all purchases of
-- theirs of the item are settled (macros/settled.sql), they come and go once for each, and the number is a running sum.
with

versions as (
    {{ versions_to_build(ref('int_item_feature_versions'), 'item_id') }}
),

purchases as (
    select distinct item_id, user_id, occurred_date, known_at, in_force_until
    from {{ ref('int_event_versions') }}
    where
        event_type = 'purchase'
        and user_id is not null
        and item_id in (select item_id from versions)
),

unsettled_buyers as (
    select distinct item_id, user_id
    from purchases
    where known_at > occurred_date + 1 or in_force_until < cast('infinity' as timestamp)
),

settled as (
    select
        item_id,
        occurred_date,
        lead(occurred_date) over (partition by item_id, user_id order by occurred_date) as next_date
    from purchases
    where not exists (
        select 1 from unsettled_buyers
        where purchases.item_id = unsettled_buyers.item_id and purchases.user_id = unsettled_buyers.user_id
    )
),

changes_and_questions as (
    select item_id, occurred_date + 1 as at_date, 1 as change, false as is_question from settled
    union all
    select item_id, least(occurred_date + 30, coalesce(next_date, occurred_date + 30)) + 1, -1, false from settled
    union all
    select distinct item_id, cast(features_at as date), 0, true from versions
),

settled_buyers as (
    select
        item_id,
        cast(at_date as timestamp) as features_at,
        is_question,
        sum(change) over (partition by item_id order by at_date) as buyers
    from changes_and_questions
),

unsettled as (
    select purchases.*
    from purchases
    inner join unsettled_buyers on purchases.item_id = unsettled_buyers.item_id and purchases.user_id = unsettled_buyers.user_id
),

midnights as (
    select distinct features_at from versions
),

unsettled_at as (
    select unsettled.*, midnights.features_at
    from unsettled
    inner join midnights
        on unsettled.occurred_date < midnights.features_at and unsettled.occurred_date + 30 >= midnights.features_at
),

other_buyers as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        count(distinct unsettled_at.user_id) as buyers
    from versions
    inner join unsettled_at
        on
            versions.item_id = unsettled_at.item_id
            and versions.features_at = unsettled_at.features_at
            and {{ in_force('unsettled_at', 'versions.created_at') }}
    group by 1, 2, 3
),

final as (
    select
        versions.item_id,
        versions.features_at,
        versions.created_at,
        cast(settled_buyers.buyers + coalesce(other_buyers.buyers, 0) as bigint) as buyers_30d
    from versions
    inner join settled_buyers
        on
            versions.item_id = settled_buyers.item_id
            and versions.features_at = settled_buyers.features_at
            and settled_buyers.is_question
    left join other_buyers
        on {{ same_version('versions', 'other_buyers', 'item_id') }}
)

select * from final
where buyers_30d > 0
