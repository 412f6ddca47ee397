{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

{{ feature_versions('item_id', days=ref('int_item_days'), other_changes=ref('int_item_changes')) }}
