{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=['{{ forget_known() }}', '{{ reopen_superseded() }}'],
    post_hook="{{ close_superseded(['item_id', 'occurred_date']) }}"
) }}

with

changes as (
    {{ event_day_changes('item_id') }}
),

events as (
    {{ events_at_changes('item_id', ['event_id', 'event_type', 'rating']) }}
),

days as (
    select
        item_id,
        occurred_date,
        known_at,
        count(event_id) as events,
        count(*) filter (where event_type = 'view') as views,
        count(*) filter (where event_type = 'purchase') as purchases,
        coalesce(sum(cast(rating as decimal(18, 4))), 0) as rating_sum,
        count(rating) as ratings
    from events
    group by 1, 2, 3
),

final as (
    select *, {{ next_change('item_id') }}
    from days
)

select * from final
