"""The files of a new project: what a team chose in, the text of each file out. Pure but for the templates it reads."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import jinja2

from flow_of_flows.scaffold.existing import ExistingDbt
from flow_of_flows.scaffold.names import ProjectName
from flow_of_flows.scaffold.requirement import requirement
from flow_of_flows.settings import TargetName

KNOWN = tuple(TargetName)
HOMEPAGE = "https://github.com/your-org/flow-of-flows"
# The actions of the workflow, pinned to commits as those of this repository's own workflows.
CHECKOUT = "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
SETUP_UV = "20cfd1bf945f4377ade1205e4dbc17946fc9a30d # v10.0.1"


@dataclass(frozen=True)
class Platform:
    """The platform that the project is written for.

    Attributes:
        version: that runs now.
        python: versions of Python that it runs on.
        source: value in `[tool.uv.sources]`; None for a package index.
        address: of the same place, as a direct reference of a requirement; None for a package index.
        chart: where Helm finds the chart.
    """

    version: str
    python: str
    source: str | None
    address: str | None
    chart: str


@dataclass(frozen=True)
class Layout:
    """What a team chose.

    Attributes:
        warehouse: dbt's name of the adapter that production uses.
        dbt_folder: of the dbt project, relative to the project's folder.
        existing: the dbt project, unless it is the example.
        has_requirements: the folder has a requirements.txt, which `flows bake` would install.
    """

    name: ProjectName
    warehouse: str
    platform: Platform
    dbt_folder: str = "dbt"
    existing: ExistingDbt | None = None
    has_requirements: bool = False

    @property
    def has_ingest(self) -> bool:
        """Return whether the example child loads a table: into a warehouse that the platform loads."""
        return self.existing is None and self.warehouse in KNOWN

    @property
    def has_cluster_profile(self) -> bool:
        """Return whether pods need a profile other than the dbt project's own, one whose connection is the chart's."""
        own = self.existing.own_profile if self.existing else None
        connected = self.existing.connected if self.existing else ()
        return own is not None and self.warehouse in KNOWN and self.warehouse not in connected

    @property
    def package(self) -> str:
        """Return the folder of the project's Python package."""
        return self.name.package

    @property
    def tests(self) -> str:
        """Return the folder of the tests; `tests` is dbt's own where the dbt project is the project's folder."""
        return f"{self.package}/tests" if self.dbt_folder == "." else "tests"

    @property
    def requirements(self) -> tuple[str, ...]:
        """Return what the project needs."""
        adapters = self._adapters
        extras = [each for each in adapters if each in KNOWN] or ["dbt"]
        own = requirement([*extras, *(["ingest"] if self.has_ingest else [])], self.platform.version)
        return own, *(f"dbt-{each}" for each in adapters if each not in KNOWN)

    @property
    def _adapters(self) -> tuple[str, ...]:
        """Return dbt's adapters that the project needs: on this machine, and in production."""
        here = self.existing.adapter if self.existing and self.existing.adapter else TargetName.DUCKDB.value
        return tuple(dict.fromkeys((here, self.warehouse)))

    @property
    def install(self) -> str:
        """Return the command that adds the platform to a pyproject.toml that was there before."""
        own, *others = self.requirements
        if self.platform.address:
            own = f"{own.partition('>')[0]} @ {self.platform.address}"
        return shlex.join(("uv", "add", own, *others))

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the next five commands, in the project's folder."""
        name = self.name.text
        install = f"helm upgrade --install {name} {self.platform.chart}"
        return (
            "uv run flows run main",
            "uv run flows graph main",
            "uv run pytest",
            f"docker build --tag {name}:0.1.0 .",
            f"{install} --namespace {name} --create-namespace --values values.yaml",
        )


def render(layout: Layout) -> dict[PurePosixPath, str]:
    """Return the text of each file, by its path in the project."""
    context = _context(layout)
    return {PurePosixPath(path): _text(template, context) for path, template in templates(layout).items()}


def stand_in_profile() -> str:
    """Return a profiles.yml for DuckDB alone, whose profile is called PROFILE."""
    return _text("dbt/profiles.yml", {"profile": "PROFILE", "warehouse": TargetName.DUCKDB.value, "has_ingest": False})


def templates(layout: Layout) -> dict[str, str]:
    """Return the template of each file, by the path of the file."""
    package, dbt = layout.package, "" if layout.dbt_folder == "." else f"{layout.dbt_folder}/"
    files = {
        ".dockerignore": "dockerignore",
        ".github/workflows/flows.yml": "workflow.yml",
        ".gitignore": "gitignore",
        "Dockerfile": "Dockerfile",
        "README.md": "README.md",
        f"{package}/__init__.py": "package.py",
        f"{package}/main.py": "main.py",
        "prefect.yaml": "prefect.yaml",
        "pyproject.toml": "pyproject.toml",
        f"{layout.tests}/test_main.py": "test_main.py",
        "values.yaml": "values.yaml",
    }
    if layout.has_ingest:
        files[f"{package}/temperatures.py"] = "temperatures.py"
    if layout.existing is not None:
        files["profiles/profiles.yml" if layout.has_cluster_profile else f"{dbt}profiles.yml"] = "dbt/profiles.yml"
        if not layout.has_cluster_profile and layout.existing.own_profile:
            del files[f"{dbt}profiles.yml"]
        return files
    example = ["dbt_project.yml", "profiles.yml", "models/models.yml"]
    example += ["models/staging/stg_temperatures.sql", "models/marts/city_temperatures.sql"]
    example += [] if layout.has_ingest else ["seeds/temperatures.csv"]
    return files | {f"{dbt}{path}": f"dbt/{path}" for path in example}


def _context(layout: Layout) -> dict[str, Any]:
    existing, platform = layout.existing, layout.platform
    return {
        "name": layout.name.text,
        "module": layout.name.module,
        "package": layout.package,
        "profile": existing.profile if existing else layout.name.module,
        "warehouse": layout.warehouse,
        "known": KNOWN,
        "has_ingest": layout.has_ingest,
        "has_requirements": layout.has_requirements,
        "example": existing is None,
        "in_cluster_profile": layout.has_cluster_profile,
        "own_profile": _shown(existing),
        "output": (existing and existing.output) or layout.warehouse,
        "dbt_folder": layout.dbt_folder,
        "tests_folder": layout.tests,
        "requirements": layout.requirements,
        "testing": requirement(["testing"], platform.version),
        "commands": layout.commands,
        "version": platform.version,
        "python": platform.python,
        "source": platform.source,
        "homepage": HOMEPAGE,
        "checkout": CHECKOUT,
        "setup_uv": SETUP_UV,
    }


def _shown(existing: ExistingDbt | None) -> str | None:
    """Return the project's own profiles.yml for people: relative to the dbt project where it is in there."""
    if existing is None or existing.own_profile is None:
        return None
    own = existing.own_profile
    return own.name if own.is_relative_to(existing.folder) else str(own)


def _text(template: str, context: dict[str, Any]) -> str:
    return _environment().get_template(f"{template}.j2").render(context)


def _environment() -> jinja2.Environment:
    """Return Jinja with delimiters that neither dbt's Jinja, GitHub's expressions, YAML nor TOML use."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files("flow_of_flows") / "templates")),
        autoescape=False,  # noqa: S701 - the files are not HTML
        undefined=jinja2.StrictUndefined,
        variable_start_string="<{",
        variable_end_string="}>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
