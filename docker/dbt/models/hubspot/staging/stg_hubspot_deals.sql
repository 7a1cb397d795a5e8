with
    source as (select * from {{ source("hubspot", "deals") }}),

    renamed as (
        select
            id as deal_id,
            properties_dealname as deal_name,
            properties_pipeline as pipeline,
            properties_dealstage as stage,
            case
                when properties_hs_is_closed_won
                then 'won'
                when properties_hs_is_closed
                then 'lost'
                else 'open'
            end as status,
            cast(properties_amount as decimal(18, 2)) as amount,
            properties_deal_currency_code as currency,
            {{ in_utc("properties_createdate") }} as created_at,
            {{ in_utc("properties_closedate") }} as closed_at,
            {{ in_utc("properties_hs_lastmodifieddate") }} as updated_at
        from source
        where not coalesce(archived, false)
    )

select *
from renamed
