-- A row stands at every midnight at which an order or a chargeback of the instrument became known, and holds nothing that was not. An order
-- is laid on each of the midnights of the 7 days after it and found there by equality, so the cost grows with the orders, not their pairs.
with

orders as (
    select
        *,
        {{ midnight_after('greatest(known_at, placed_at)') }} as known_from,
        user_id is not null
        and row_number() over (
            partition by instrument_id, user_id order by known_at, placed_at, {{ by_bytes('order_id') }}
        ) = 1 as is_first_of_account
    from {{ ref('int_order_instruments') }}
),

changes as (
    select instrument_id, known_from as created_at, 1 as orders, amount, 0 as chargebacks
    from orders
    union all
    select instrument_id, greatest(charged_back_known_at, known_from) as created_at, 0 as orders, 0 as amount, 1 as chargebacks
    from orders
    where charged_back_known_at is not null
),

days as (
    select
        instrument_id,
        created_at,
        sum(orders) as orders,
        sum(amount) as amount,
        sum(chargebacks) as chargebacks
    from changes
    group by 1, 2
),

versions as (
    select
        instrument_id,
        created_at,
        sum(orders) over so_far as orders_total,
        sum(amount) over so_far as amount_total,
        sum(chargebacks) over so_far as chargebacks_total
    from days
    window so_far as (partition by instrument_id order by created_at)
),

accounts as (
    select
        instrument_id,
        user_id,
        known_from,
        row_number() over (partition by instrument_id order by known_from, {{ by_bytes('user_id') }}) as place
    from orders
    where is_first_of_account
),

account_lists as (
    select
        versions.instrument_id,
        versions.created_at,
        {{ list_of('accounts.user_id', 'varchar', 'accounts.place') }} as user_ids
    from versions
    inner join accounts
        on versions.instrument_id = accounts.instrument_id and versions.created_at >= accounts.known_from
    where accounts.place <= {{ most_accounts() }}
    group by 1, 2
),

recent as (
    select
        instrument_id,
        order_id,
        placed_at,
        amount,
        known_from,
        {{ midnight_after('placed_at') }} + days.days_on * interval '1 day' as created_at
    from orders
    cross join generate_series(0, 7) as days (days_on)
),

recent_lists as (
    select
        versions.instrument_id,
        versions.created_at,
        {{ list_of(epoch_us('recent.placed_at'), 'bigint', 'recent.placed_at, ' ~ by_bytes('recent.order_id')) }}
            as recent_order_times_us,
        {{ list_of('recent.amount', 'double precision', 'recent.placed_at, ' ~ by_bytes('recent.order_id')) }}
            as recent_order_amounts
    from versions
    inner join recent
        on versions.instrument_id = recent.instrument_id and versions.created_at = recent.created_at
    where recent.known_from <= versions.created_at and recent.placed_at >= versions.created_at - interval '7 days'
    group by 1, 2
),

final as (
    select
        versions.instrument_id,
        versions.created_at as features_at,
        versions.created_at,
        cast(versions.orders_total as bigint) as orders_total,
        cast(versions.amount_total as double precision) as amount_total,
        cast(versions.chargebacks_total as bigint) as chargebacks_total,
        coalesce(account_lists.user_ids, {{ empty_list('varchar') }}) as user_ids,
        coalesce(recent_lists.recent_order_times_us, {{ empty_list('bigint') }}) as recent_order_times_us,
        coalesce(recent_lists.recent_order_amounts, {{ empty_list('double precision') }}) as recent_order_amounts
    from versions
    left join account_lists
        on versions.instrument_id = account_lists.instrument_id and versions.created_at = account_lists.created_at
    left join recent_lists
        on versions.instrument_id = recent_lists.instrument_id and versions.created_at = recent_lists.created_at
)

select * from final
