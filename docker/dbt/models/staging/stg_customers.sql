with
    source as (select * from {{ source("raw_customers", "raw_customers") }}),

    renamed as (
        select
            id as customer_id,
            nullif(
                trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), ''
            ) as full_name,
            email,
            country,
            {{ in_utc("created_at") }} as created_at,
            {{ in_utc("updated_at") }} as updated_at
        from source
    )

select *
from renamed
