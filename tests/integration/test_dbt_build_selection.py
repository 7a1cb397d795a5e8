"""What dbt selects: read by dbt's own parser, never an option, and whole only if it is the whole project."""

from __future__ import annotations

import json

import pytest

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import plan
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built
from tests.fixtures.dbt_projects import Place

TWO = {"models/a.sql": "{{ config(tags=['hourly']) }} select 1 as id", "models/b.sql": "select 1 as v"}
DEFAULT = {
    **TWO,
    "selectors.yml": """\
selectors:
  - name: hourly
    default: true
    definition: {method: tag, value: hourly}
""",
}
STATES = {
    "models/a.sql": "{{ config(meta={'state': 'ready'}) }} select 1 as id",
    "models/b.sql": "{{ config(meta={'state': 'draft'}, tags=['state:x']) }} select 2 as id",
}
INCREMENTAL = {"models/a.sql": "{{ config(materialized='incremental') }} select {{ is_incremental() }} as increment"}
NOT_WHOLE = "The production artifacts stay as they are: "


def _tables(place: Place) -> list[str]:
    return list(built(place))


def _published(report: ChildReport) -> bool:
    return "published" in report.facts


@pytest.mark.parametrize(
    ("parameters", "tables"),
    [
        ({"exclude": "config.meta.state:draft"}, ["a"]),
        ({"select": "config.meta.state:ready"}, ["a"]),
        ({"select": "tag:state:x"}, ["b"]),
        ({"select": "a,config.meta.state:ready"}, ["a"]),
        ({"select": ["a", "tag:state:x"]}, ["a", "b"]),
        ({"select": "b", "exclude": ["config.meta.state:ready", "tag:nothing"]}, ["b"]),
    ],
)
def test_word_state_in_a_selection_is_no_comparison(
    place: Place, parameters: dict[str, object], tables: list[str]
) -> None:
    """Only dbt's methods that compare with earlier artifacts do, wherever else their names occur."""
    place.use(STATES)

    report = build(**parameters)

    assert _tables(place) == tables
    assert [text for text in report.warnings if "First run" in text] == []


@pytest.mark.parametrize(
    "select", ["+state:modified+", "1+state:new", "a,state:modified", "@result:error", "b state:old"]
)
def test_comparison_is_recognized_with_graph_operators(place: Place, select: str) -> None:
    """A criterion that compares does so with any operator and in any union or intersection."""
    place.use(STATES)

    report = build(select=select)

    assert _tables(place) == ["a", "b"]
    (warning,) = report.warnings
    assert warning.startswith("First run: no production manifest in ")


@pytest.mark.parametrize(
    "parameters",
    [
        {"select": "a --full-refresh"},
        {"select": "--full-refresh"},
        {"select": ["a", "--full-refresh"]},
        {"select": "a\n--full-refresh"},
        {"select": "a\t-f"},
        {"exclude": "b --full-refresh"},
        {"exclude": ["-f"]},
    ],
)
def test_option_in_a_selection_is_refused(place: Place, parameters: dict[str, object]) -> None:
    """Text of a selection cannot become an option of dbt."""
    place.use(INCREMENTAL)

    with pytest.raises(ConfigurationError, match=r"in (select|exclude) is an option of dbt, not a selection"):
        build(**parameters)


@pytest.mark.parametrize(
    "select", ["a,--full-refresh a", 'a "--full-refresh"', "a '--full-refresh'", "a =--full-refresh"]
)
def test_text_like_an_option_stays_a_selection(place: Place, select: str) -> None:
    """What dbt can take for a criterion is one: it matches nothing, and changes nothing else."""
    place.use(INCREMENTAL)
    build()

    build(select=select)

    assert built(place) == {"a": [(False,), (True,)]}


def test_default_selector_is_not_the_whole_project(place: Place) -> None:
    """A run of the default selector publishes nothing, and says so; a later run still sees what it left out."""
    place.use(DEFAULT)
    assert _published(build(select="*"))
    place.use({**DEFAULT, "models/b.sql": "select 2 as v"})

    report = build()

    assert not _published(report)
    assert report.warnings == (
        NOT_WHOLE + "dbt built 1 of the project's 2 nodes, as its default selector 'hourly' says",
    )
    changed = build(changed_only=True)
    assert changed.summary.startswith("1 dbt nodes: 1 success; 1 not built")
    assert built(place) == {"a": [(1,)], "b": [(2,)]}


def test_default_selector_of_all_nodes_is_the_whole_project(place: Place) -> None:
    """What counts is what dbt built, not how it was selected."""
    place.use({**DEFAULT, "selectors.yml": DEFAULT["selectors.yml"].replace("method: tag, value: hourly", "fqn: '*'")})

    assert _published(build())


def test_first_run_of_what_changed_builds_all_in_spite_of_a_default_selector(place: Place) -> None:
    """Without production everything is built, and not only what the default selector says."""
    place.use(DEFAULT)

    report = build(changed_only=True)

    assert _tables(place) == ["a", "b"]
    assert _published(report)


def test_default_selector_that_compares_is_compared(place: Place) -> None:
    """A default selector of `state:modified` gets production's artifacts, as a parameter does."""
    compare = "{method: state, value: modified, children: true}"
    files = {**DEFAULT, "selectors.yml": DEFAULT["selectors.yml"].replace("{method: tag, value: hourly}", compare)}
    place.use(files)
    assert _published(build())
    place.use({**files, "models/b.sql": "select 2 as v"})

    assert build().summary == "1 dbt nodes: 1 success"
    assert built(place) == {"a": [(1,)], "b": [(2,)]}


def test_default_selector_that_matches_nothing_is_named(place: Place) -> None:
    """The error names the selector, since no parameter did."""
    place.use({**DEFAULT, "models/a.sql": "select 1 as id"})

    with pytest.raises(ConfigurationError, match="The default selector 'hourly' matches nothing"):
        build()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("DBT_EXCLUDE_RESOURCE_TYPES", "test", "dbt built 4 of the project's 5 nodes"),
        ("DBT_RESOURCE_TYPES", "model", "dbt built 4 of the project's 5 nodes"),
        ("DBT_EMPTY", "true", "dbt built only some of the rows (empty)"),
        ("DBT_SAMPLE", "1 day", "dbt built only some of the rows (sample)"),
    ],
)
def test_variable_that_narrows_a_build_keeps_it_from_production(
    place: Place, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    """What variables of dbt itself leave out of a build is not part of production."""
    place.use()
    monkeypatch.setenv(variable, value)

    report = build()

    assert not _published(report)
    assert report.warnings == (NOT_WHOLE + reason,)


def test_types_left_out_of_what_changed_keep_it_from_production(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that dbt was not allowed to build would otherwise count as built."""
    place.use()
    build()
    place.use({**dbt_projects.CHAIN, "models/third.sql": "select 7 as id"})
    monkeypatch.setenv("DBT_EXCLUDE_RESOURCE_TYPES", "model")

    report = build(changed_only=True)

    assert not _published(report)
    monkeypatch.delenv("DBT_EXCLUDE_RESOURCE_TYPES")
    assert build(changed_only=True).summary.startswith("1 dbt nodes: 1 success")
    assert built(place)["third"] == [(7,)]


def test_disabled_and_empty_models_are_no_part_of_the_project(place: Place) -> None:
    """A run without what dbt itself never builds is whole."""
    place.use(
        {
            "models/a.sql": "select 1 as id",
            "models/off.sql": "{{ config(enabled=false) }} select 1 as id",
            "models/nothing.sql": "\n",
            "models/inlined.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
            "analyses/look.sql": "select 1",
        }
    )

    assert _published(build())


def test_selection_of_everything_is_the_whole_project(place: Place) -> None:
    """A selection that leaves nothing out publishes, and one that leaves a test out does not."""
    place.use()

    assert _published(build(select="path:models"))
    assert not _published(build(select="beside first second third", exclude="test_type:generic"))


def test_plan_takes_the_same_selection_as_the_build(place: Place) -> None:
    """`flows plan` understands a selection as dbt does, the default selector included."""
    place.use(DEFAULT)
    assert list(plan(Settings.load(), Options()).nodes) == ["model.tiny.a"]
    place.use(STATES)
    assert list(plan(Settings.load(), Options(select="config.meta.state:ready")).nodes) == ["model.tiny.a"]


VARS: dict[str, object] = {
    "ids": [1, 2.5, -3],
    "shop": {"min": 4, "deep": [{"a": None, "b": [True, []]}]},
    "day": "2026-01-02",
    "yes": "no",
    "digits": "007",
    "big": 1e22,
    "small": 1e-7,
    "text": 'it\'s "quoted": {x} # - \n\ttwo lines, 😀 é \u2028',
    "dash": "--full-refresh",
    "none": None,
    "empty": {},
    "1": "a number as a name",
}


def test_variables_are_as_wide_as_those_of_dbt(place: Place) -> None:
    """Every value that JSON has reaches dbt as it is, of any depth."""
    names = json.dumps(list(VARS))
    model = f"{{% set found = {{}} %}}{{% for n in {names} %}}{{% do found.update({{n: var(n)}}) %}}{{% endfor %}}"
    place.use({"models/a.sql": model + "select $${{ tojson(found) }}$$ as found"})

    build(vars=VARS)

    ((found,),) = built(place)["a"]
    assert json.loads(str(found)) == VARS
