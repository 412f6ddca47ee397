{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ forget_versions() }}') }}

{{ feature_versions('user_id', other_changes=ref('stg_users')) }}
