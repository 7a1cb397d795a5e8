{% macro convert_to_eur(amount, rate) -%}
    cast({{ amount }} / {{ rate }} as decimal(18, 2))
{%- endmacro %}
