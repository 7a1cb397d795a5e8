{% macro snowflake__set_query_tag() -%}
    {% set tag = config.get("query_tag") or target.query_tag or "{}" %}
    {% set origin = none if config.get("query_tag") else fromjson(tag, none) %}
    {# A tag that is no JSON object is somebody's own, and stays as it is. #}
    {% if origin is mapping %}
        {% do origin.update({"node": model.unique_id}) %} {% set tag = tojson(origin) %}
    {% endif %}
    {% do run_query(alter_query_tag(tag)) %}
    {{ return(target.query_tag) }}
{%- endmacro %}

{% macro snowflake__unset_query_tag(original_query_tag) -%}
    {% if original_query_tag %} {% do run_query(alter_query_tag(original_query_tag)) %}
    {% else %} {% do run_query("alter session unset query_tag") %}
    {% endif %}
{%- endmacro %}

{% macro alter_query_tag(tag) -%}
    {% set literal = tag | replace("\\", "\\\\") | replace("'", "\\'") %}
    {{ return("alter session set query_tag = '" ~ literal ~ "'") }}
{%- endmacro %}
