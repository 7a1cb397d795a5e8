with
    source as (select * from {{ source("exchange_rates", "exchange_rates") }}),

    renamed as (
        select rate_date, currency, cast(rate as decimal(18, 6)) as rate from source
    )

select *
from renamed
