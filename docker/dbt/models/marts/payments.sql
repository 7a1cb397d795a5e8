with
    payments as (
        select *, cast(paid_at as date) as paid_on from {{ ref("stg_payments") }}
    ),

    exchange_rates as (
        select *
        from {{ ref("stg_exchange_rates") }}
        where currency in (select currency from payments)
    ),

    -- The European Central Bank publishes on working days: find for each day of a
    -- payment the day of its rate with one
    -- sorted pass, since not every warehouse has an asof join.
    days as (
        select currency, rate_date as rate_day, rate_date
        from exchange_rates
        union all
        select currency, paid_on as rate_day, cast(null as date) as rate_date
        from payments
    ),

    latest_rate_dates as (
        select distinct
            currency,
            rate_day,
            max(rate_date) over (partition by currency order by rate_day) as rate_date
        from days
    ),

    rated as (
        select
            payments.*,
            exchange_rates.rate_date,
            case
                when payments.currency = 'EUR' then 1 else exchange_rates.rate
            end as exchange_rate
        from payments
        left join
            latest_rate_dates
            on payments.currency = latest_rate_dates.currency
            and payments.paid_on = latest_rate_dates.rate_day
        left join
            exchange_rates
            on latest_rate_dates.currency = exchange_rates.currency
            and latest_rate_dates.rate_date = exchange_rates.rate_date
    )

select
    payment_id,
    order_id,
    payment_method,
    currency,
    amount,
    rate_date,
    exchange_rate,
    {{ money.convert_to_eur("amount", "exchange_rate") }} as amount_eur,
    paid_at,
    updated_at
from rated
