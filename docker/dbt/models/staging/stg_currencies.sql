with
    source as (select * from {{ source("currencies", "currencies") }}),

    renamed as (
        select code as currency, numeric_code, name as currency_name from source
    )

select *
from renamed
