with
    associations as (
        {{
            array_elements(
                source("hubspot", "deals"),
                "id",
                "contacts",
                where="not coalesce(archived, false)",
            )
        }}
    )

select distinct key as deal_id, element as contact_id
from associations
