with
    payments as (select * from {{ ref("payments") }}),

    kept_orders as (select order_id from {{ ref("orders") }} where status <> 'returned')

select
    cast(payments.paid_at as date) as revenue_date,
    cast(count(distinct payments.order_id) as bigint) as number_of_orders,
    cast(count(*) as bigint) as number_of_payments,
    cast(sum(payments.amount_eur) as decimal(18, 2)) as revenue_eur
from payments
inner join kept_orders on payments.order_id = kept_orders.order_id
group by cast(payments.paid_at as date)
