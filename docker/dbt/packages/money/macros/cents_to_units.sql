{% macro cents_to_units(cents) -%}
    cast({{ cents }} / 100.0 as decimal(18, 2))
{%- endmacro %}
