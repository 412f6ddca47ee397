{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

{{ feature_versions('item_id', other_changes=ref('int_item_changes')) }}
