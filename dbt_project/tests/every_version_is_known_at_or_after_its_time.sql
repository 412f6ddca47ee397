-- Harm prevented: a training row that reads what nobody could have known yet.
select 'user_features' as mart, user_id as entity_id, features_at, created_at from {{ ref('user_features') }}
where created_at > {{ window_start() }} and (created_at < features_at or last_event_at >= features_at or first_event_at > last_event_at)
union all
select 'user_sequences', user_id, features_at, created_at from {{ ref('user_sequences') }}
where
    created_at > {{ window_start() }}
    and (created_at < features_at or event_times_us[array_length(event_times_us, 1)] >= {{ epoch_us('features_at') }})
union all
select 'item_features', item_id, features_at, created_at from {{ ref('item_features') }}
where created_at > {{ window_start() }} and (created_at < features_at)
