{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

{{ feature_versions('user_id', days=ref('int_user_days'), other_changes=ref('stg_users')) }}
