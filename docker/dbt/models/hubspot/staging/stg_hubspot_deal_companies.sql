with
    associations as (
        {{
            array_elements(
                source("hubspot", "deals"),
                "id",
                "companies",
                where="not coalesce(archived, false)",
            )
        }}
    )

select distinct key as deal_id, element as company_id
from associations
