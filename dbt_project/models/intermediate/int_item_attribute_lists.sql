{% set pair = "attributes.attribute || '=' || attributes.value" %}

with

attributes as (
    select * from {{ ref('stg_item_attributes') }}
),

changes as (
    select distinct item_id, known_at
    from attributes
),

lists as (
    select
        changes.item_id,
        changes.known_at,
        {{ list_of(pair, 'varchar', by_bytes(pair)) }} as attributes
    from changes
    inner join attributes
        on changes.item_id = attributes.item_id and changes.known_at >= attributes.known_at
    group by 1, 2
),

final as (
    select
        *,
        coalesce(
            lead(known_at) over (partition by item_id order by known_at),
            cast('infinity' as timestamp)
        ) as in_force_until
    from lists
)

select * from final
