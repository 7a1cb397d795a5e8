with
    deals as (select * from {{ ref("stg_hubspot_deals") }}),

    companies as (select * from {{ ref("stg_hubspot_companies") }}),

    contacts as (select * from {{ ref("stg_hubspot_contacts") }}),

    -- A deal may have several companies: the oldest one stands for all.
    companies_of_deals as (
        select
            deal_companies.deal_id,
            companies.*,
            row_number() over (
                partition by deal_companies.deal_id
                order by companies.created_at, companies.company_id
            ) as place
        from {{ ref("stg_hubspot_deal_companies") }} as deal_companies
        inner join companies on deal_companies.company_id = companies.company_id
    ),

    contacts_of_deals as (
        select
            deal_contacts.deal_id,
            count(*) as number_of_contacts,
            count(
                case when contacts.lifecycle_stage = 'customer' then 1 end
            ) as number_of_customers
        from {{ ref("stg_hubspot_deal_contacts") }} as deal_contacts
        inner join contacts on deal_contacts.contact_id = contacts.contact_id
        group by deal_contacts.deal_id
    )

select
    deals.deal_id,
    deals.deal_name,
    deals.pipeline,
    deals.stage,
    deals.status,
    deals.amount,
    deals.currency,
    companies_of_deals.company_id,
    companies_of_deals.company_name,
    companies_of_deals.industry,
    companies_of_deals.country,
    coalesce(contacts_of_deals.number_of_contacts, 0) as number_of_contacts,
    coalesce(contacts_of_deals.number_of_customers, 0) as number_of_customers,
    deals.created_at,
    deals.closed_at,
    deals.updated_at
from deals
left join
    companies_of_deals
    on deals.deal_id = companies_of_deals.deal_id
    and companies_of_deals.place = 1
left join contacts_of_deals on deals.deal_id = contacts_of_deals.deal_id
