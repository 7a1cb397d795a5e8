with
    source as (select * from {{ source("raw_orders", "raw_orders") }}),

    renamed as (
        select
            id as order_id,
            customer_id,
            {{ in_utc("ordered_at") }} as ordered_at,
            status,
            {{ in_utc("updated_at") }} as updated_at
        from source
    )

select *
from renamed
