"""What templates read, as far as it is written there."""

from __future__ import annotations

import pytest

from flow_of_flows.dbt.changes import ANY, names_read


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select 1", set()),
        ("select variance, var from t", set()),
        ("{{ var('a') }} {{ var(\"b\", 1) }}", {"a", "b"}),
        ("{% if var.has_var('a') %}{% endif %}", {"a"}),
        ("{{ f(var('a')[var('b')]) }}", {"a", "b"}),
        ("{{ var(name) }}", {ANY}),
        ("{% set read = var %}{{ read('a') }}", {ANY}),
        ("{% macro m() %}{{ var('a') }}{% endmacro %}", {"a"}),
        ("{{ var('a') ", {ANY}),
        ("{{ env_var('E') }}", set()),
    ],
)
def test_names_of_variables_in_a_template(text: str, names: set[str]) -> None:
    """A name that is not written there stands for any."""
    assert names_read("var", [text]) == names


def test_names_of_the_environment() -> None:
    """They are other names than those of dbt's variables."""
    assert names_read("env_var", ["{{ env_var('E', var('a')) }}", "{{ env_var('F') }}"]) == {"E", "F"}
