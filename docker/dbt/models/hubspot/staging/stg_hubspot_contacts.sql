with
    source as (select * from {{ source("hubspot", "contacts") }}),

    renamed as (
        select
            id as contact_id,
            nullif(
                trim(
                    coalesce(properties_firstname, '')
                    || ' '
                    || coalesce(properties_lastname, '')
                ),
                ''
            ) as full_name,
            properties_email as email,
            properties_lifecyclestage as lifecycle_stage,
            {{ in_utc("properties_createdate") }} as created_at,
            {{ in_utc("properties_lastmodifieddate") }} as updated_at
        from source
        where not coalesce(archived, false)
    )

select *
from renamed
