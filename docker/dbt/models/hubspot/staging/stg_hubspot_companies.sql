with
    source as (select * from {{ source("hubspot", "companies") }}),

    renamed as (
        select
            id as company_id,
            properties_name as company_name,
            properties_domain as domain,
            properties_industry as industry,
            properties_country as country,
            {{ in_utc("properties_createdate") }} as created_at,
            {{ in_utc("properties_hs_lastmodifieddate") }} as updated_at
        from source
        where not coalesce(archived, false)
    )

select *
from renamed
