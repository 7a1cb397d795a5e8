with
    customers as (select * from {{ ref("stg_customers") }}),

    orders as (select * from {{ ref("orders") }}),

    orders_by_customer as (
        select
            customer_id,
            min(ordered_at) as first_order_at,
            max(ordered_at) as most_recent_order_at,
            count(*) as number_of_orders,
            sum(
                case when status = 'returned' then 0 else amount_eur end
            ) as lifetime_value_eur
        from orders
        group by customer_id
    )

select
    customers.customer_id,
    customers.full_name,
    customers.country,
    orders_by_customer.first_order_at,
    orders_by_customer.most_recent_order_at,
    coalesce(orders_by_customer.number_of_orders, 0) as number_of_orders,
    cast(
        coalesce(orders_by_customer.lifetime_value_eur, 0) as decimal(18, 2)
    ) as lifetime_value_eur
from customers
left join orders_by_customer on customers.customer_id = orders_by_customer.customer_id
