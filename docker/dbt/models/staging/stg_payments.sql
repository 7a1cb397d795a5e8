with
    source as (select * from {{ source("raw_payments", "raw_payments") }}),

    renamed as (
        select
            id as payment_id,
            order_id,
            payment_method,
            currency,
            {{ money.cents_to_units("amount") }} as amount,
            {{ in_utc("paid_at") }} as paid_at,
            {{ in_utc("updated_at") }} as updated_at
        from source
    )

select *
from renamed
