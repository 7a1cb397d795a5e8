{% macro in_utc(timestamp) -%}
    {{ return(adapter.dispatch("in_utc")(timestamp)) }}
{%- endmacro %}

{% macro default__in_utc(timestamp) -%}
    cast({{ timestamp }} at time zone 'UTC' as timestamp)
{%- endmacro %}

{% macro snowflake__in_utc(timestamp) -%}
    cast(convert_timezone('UTC', {{ timestamp }}) as timestamp_ntz)
{%- endmacro %}
