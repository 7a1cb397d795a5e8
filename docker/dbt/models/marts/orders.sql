{{
    config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key="order_id",
        on_schema_change="append_new_columns",
    )
}}

-- An order is built again when it, one of its payments, or a rate for one of them is
-- newer than what is in the table.
-- Orders and payments are loaded side by side, so each has a watermark of its own.
with
    orders as (select * from {{ ref("stg_orders") }}),

    payments as (select *, cast(paid_at as date) as paid_on from {{ ref("payments") }}),

    exchange_rates as (
        select max(rate_date) as rates_until from {{ ref("stg_exchange_rates") }}
    ),

    {% if is_incremental() %}
        watermarks as (
            select
                coalesce(
                    max(order_updated_at), cast('1900-01-01' as timestamp)
                ) as order_updated_at,
                coalesce(
                    max(payments_updated_at), cast('1900-01-01' as timestamp)
                ) as payments_updated_at,
                coalesce(max(rates_until), cast('1900-01-01' as date)) as rates_until
            from {{ this }}
        ),

        changed_orders as (
            select order_id
            from orders
            where updated_at >= (select order_updated_at from watermarks)
            union
            select order_id
            from payments
            where
                updated_at >= (select payments_updated_at from watermarks)
                or paid_on > (select rates_until from watermarks)
        ),
    {% endif %}

    payments_by_order as (
        select
            order_id,
            count(*) as number_of_payments,
            sum(amount_eur) as amount_eur,
            max(updated_at) as payments_updated_at
        from payments
        {% if is_incremental() %}
            where order_id in (select order_id from changed_orders)
        {% endif %}
        group by order_id
    )

select
    orders.order_id,
    orders.customer_id,
    orders.ordered_at,
    orders.status,
    coalesce(payments_by_order.number_of_payments, 0) as number_of_payments,
    cast(coalesce(payments_by_order.amount_eur, 0) as decimal(18, 2)) as amount_eur,
    orders.updated_at as order_updated_at,
    payments_by_order.payments_updated_at,
    exchange_rates.rates_until
from orders
left join payments_by_order on orders.order_id = payments_by_order.order_id
cross join exchange_rates
{% if is_incremental() %}
    where orders.order_id in (select order_id from changed_orders)
{% endif %}
