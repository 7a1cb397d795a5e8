{% macro last_load(table) -%}
    select max(inserted_at)
    from {{ table.incorporate(path={"identifier": "_dlt_loads"}) }}
    where status = 0 and schema_name = '{{ table.identifier }}'
{%- endmacro %}
