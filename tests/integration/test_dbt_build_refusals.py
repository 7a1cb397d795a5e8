"""What dbt refuses in a project is one sentence with the file it means, in a build and in a plan, and no traceback."""

from __future__ import annotations

import pytest

from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import plan
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built
from tests.fixtures.dbt_projects import Place

MODEL = {"models/a.sql": "select 1 as id"}
LATIN = "id,name\n1,café\n".encode("latin-1")
NEEDED = "select '{{ env_var(\"NEEDED\") }}' as id"
HERE = "{place}"

CASES: dict[str, tuple[dict[str, str | bytes], str, str]] = {
    "cycle of models": (
        {
            "models/a.sql": "select * from {{ ref('b') }}",
            "models/b.sql": "select * from {{ ref('c') }}",
            "models/c.sql": "select * from {{ ref('a') }}",
        },
        "The models refer to each other in a cycle: model a → model b → model c → model a",
        HERE,
    ),
    "model that refers to itself": (
        {"models/a.sql": "select * from {{ ref('a') }}"},
        "The models refer to each other in a cycle: model a → model a",
        HERE,
    ),
    "seed in Latin-1": (
        {**MODEL, "seeds/fine.csv": "id\n1\n", "seeds/customers_fr.csv": LATIN},
        "seeds/customers_fr.csv is not UTF-8: byte 0xe9 in line 2",
        f"seeds/customers_fr.csv in {HERE}",
    ),
    "seed in UTF-16": (
        {**MODEL, "seeds/excel.csv": "id\n1\n".encode("utf-16")},
        "seeds/excel.csv is not UTF-8: byte 0xff in line 1",
        f"seeds/excel.csv in {HERE}",
    ),
    "model in Latin-1": (
        {"models/a.sql": b"select 1 as id -- " + LATIN},
        "models/a.sql is not UTF-8: byte 0xe9 in line 2",
        f"models/a.sql in {HERE}",
    ),
    "property file in Latin-1": (
        {**MODEL, "models/m.yml": b"models:\n- name: a\n  description: caf\xe9\n"},
        "models/m.yml is not UTF-8: byte 0xe9 in line 3",
        f"models/m.yml in {HERE}",
    ),
    "variable of the environment": (
        {"models/a.sql": NEEDED, "models/b.sql": NEEDED},
        "The environment variable NEEDED is not set, and the dbt project has no default for it",
        f"models/a.sql, models/b.sql in {HERE}",
    ),
    "variable in packages.yml": (
        {**MODEL, "packages.yml": "packages:\n- local: \"{{ env_var('NEEDED') }}\"\n"},
        "The environment variable NEEDED is not set, and the dbt project has no default for it",
        f"packages.yml in {HERE}",
    ),
    "adapter that is not installed": (
        {**MODEL, "profiles.yml": dbt_projects.PROFILES.replace("type: duckdb", "type: redshift")},
        "The output duckdb needs the package dbt-redshift, which is not installed",
        f"{HERE}/profiles.yml",
    ),
    "selectors.yml": (
        {**MODEL, "selectors.yml": "selectors:\n- name: nothing\n"},
        "dbt refused the project: Runtime Error Could not parse selector file data:",
        f"selectors.yml of {HERE}",
    ),
    "packages.yml": (
        {**MODEL, "packages.yml": "packages: 3"},
        "The project's packages cannot be installed: object of type 'int' has no len()",
        HERE,
    ),
    "two models of one name": (
        {**MODEL, "models/more/a.sql": "select 2 as id"},
        'dbt refused the project: Compilation Error dbt found two models with the name "a".',
        HERE,
    ),
    "YAML of a property file": (
        {**MODEL, "models/m.yml": "models:\n- name: [a\n"},
        "dbt refused the project: Parsing Error Error reading tiny: m.yml - Runtime Error Syntax error near line 3",
        HERE,
    ),
}


def _use(place: Place, files: dict[str, str | bytes]) -> None:
    place.use({name: text for name, text in files.items() if isinstance(text, str)})
    for name, data in files.items():
        if isinstance(data, bytes):
            (place.project / name).parent.mkdir(exist_ok=True)
            (place.project / name).write_bytes(data)


@pytest.mark.parametrize("case", CASES)
def test_refused_project_is_one_sentence_with_its_file(place: Place, case: str) -> None:
    """The build and the plan end with the same sentence, of the project's author."""
    files, sentence, where = CASES[case]
    _use(place, files)

    with pytest.raises(ConfigurationError) as refused:
        build()
    with pytest.raises(ConfigurationError) as planned:
        plan(Settings.load(), Options())

    assert refused.value.message.startswith(sentence)
    assert refused.value.location == where.format(place=place.project)
    assert refused.value.hint
    assert str(planned.value) == str(refused.value)


@pytest.mark.parametrize(
    "packages",
    [
        {"packages.yml": "# packages:\n#   - package: dbt-labs/dbt_utils\n"},
        {"packages.yml": ""},
        {"packages.yml": "packages: []\n"},
        {"dependencies.yml": "# none yet\n"},
        {"dependencies.yml": "projects: []\n"},
        {"packages.yml": "\n", "dependencies.yml": "packages: []\n"},
    ],
)
def test_files_that_name_no_package_are_as_good_as_none(place: Place, packages: dict[str, str]) -> None:
    """What dbt builds, the child builds: an empty packages.yml or dependencies.yml is valid."""
    place.use({**MODEL, **packages})

    build()

    assert built(place) == {"a": [(1,)]}
