{% macro array_elements(relation, key, array, where="true") -%}
    {{ return(adapter.dispatch("array_elements")(relation, key, array, where)) }}
{%- endmacro %}

{% macro duckdb__array_elements(relation, key, array, where) -%}
    select {{ key }} as key, unnest(from_json({{ array }}, '["VARCHAR"]')) as element
    from {{ relation }}
    where {{ where }}
{%- endmacro %}

{% macro postgres__array_elements(relation, key, array, where) -%}
    select base.{{ key }} as key, elements.value as element
    from {{ relation }} as base
    cross join jsonb_array_elements_text(base.{{ array }}) as elements(value)
    where {{ where }}
{%- endmacro %}

{% macro snowflake__array_elements(relation, key, array, where) -%}
    select base.{{ key }} as key, cast(elements.value as varchar) as element
    from {{ relation }} as base, lateral flatten(input => base.{{ array }}) as elements
    where {{ where }}
{%- endmacro %}
