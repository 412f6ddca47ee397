-- Harm prevented: an item paired with another event's time or price.
select user_id, features_at, created_at from {{ ref('user_sequences') }}
where
    created_at > {{ window_start() }}
    and (
        array_length(event_item_ids, 1) > {{ var('sequence_length') }}
        or array_length(event_types, 1) <> array_length(event_item_ids, 1)
        or array_length(event_times_us, 1) <> array_length(event_item_ids, 1)
        or array_length(event_prices, 1) <> array_length(event_item_ids, 1)
        or array_length(event_categories, 1) <> array_length(event_item_ids, 1)
    )
