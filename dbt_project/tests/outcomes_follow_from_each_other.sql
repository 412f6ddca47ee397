-- Harm prevented: labels that contradict each other, such as a buyer who was never active.
select user_id, label_at from {{ ref('next_purchase_labels') }}
where
    (is_purchased_7d and not is_purchased_30d)
    or (is_purchased_30d and not is_active_30d)
    or (is_purchased_7d and not is_active_7d)
    or (is_active_7d and not is_active_30d)
    or is_purchased_30d <> (next_purchase_item_id is not null)
    or (spend_30d <> 0 and not is_active_30d)
