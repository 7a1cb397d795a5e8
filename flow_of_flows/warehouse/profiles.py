"""Which output of which profile dbt uses: a project's folder and DBT_TARGET in, the output as a value out.

Files are found and read by dbt's own rules and functions; only the output's name and type are rendered, since its other
fields may need variables that the child has and the reader has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import one_line, plain
from flow_of_flows.settings import environment, from_environment, whole_environment

PROFILES_FILE = "profiles.yml"
PROFILES_DIR = "DBT_PROFILES_DIR"
# What adapters call the place that a build writes to.
PLACE = ("host", "account", "project", "path", "dbname", "database", "dataset", "schema")


@dataclass(frozen=True)
class Output:
    """One output of a profile that dbt connects with as the profile says, such as `prod`.

    Attributes:
        file: the profiles.yml.
        adapter: dbt's name of the kind of warehouse, such as postgres.
        schema: its database and schema as one text, to tell it from other places.
        variables: what the profile may ask for with `env_var`.
    """

    file: Path
    profile: str
    name: str
    adapter: str
    schema: str
    variables: Mapping[str, str]

    def dbt_environment(self) -> dict[str, str]:
        """Return what profiles.yml may ask for with `env_var`."""
        return {**self.variables, "DBT_TARGET": self.name}

    def describe(self) -> str:
        """Return where this is, for people; no secret."""
        return f"output {self.name} of profile {self.profile} ({self.adapter})"


@dataclass(frozen=True)
class Chosen:
    """The output that dbt would use.

    Attributes:
        file: the profiles.yml.
        profile: name of the profile.
        output: its own name.
        adapter: dbt's name of the kind of warehouse.
        attached: database files that the output attaches, in its order; DuckDB only.
        place: its database and schema, as far as they can be rendered here; no secret.
    """

    file: Path
    profile: str
    output: str
    adapter: str
    attached: tuple[Path, ...] = ()
    place: str = ""


def folder(project: Path) -> Path:
    """Return the folder of the profiles.yml that dbt reads for a project.

    Raises:
        ConfigurationError: there is none in any of the places that dbt looks in.
    """
    given = from_environment(PROFILES_DIR)
    places = [Path(given).absolute()] if given else [project, Path.home() / ".dbt"]
    found = next((place for place in places if (place / PROFILES_FILE).is_file()), None)
    if found is None:
        named = f"{PROFILES_DIR}={given}" if given else f"{', '.join(map(str, places))} ({PROFILES_DIR} is not set)"
        raise ConfigurationError(
            f"The dbt project has no {PROFILES_FILE}",
            location=f"looked in {named}",
            hint=f"add one next to dbt_project.yml, or set {PROFILES_DIR} to the folder that has it",
        )
    return found


def outputs(project: Path) -> dict[str, Any]:
    """Return the outputs of the profiles.yml that dbt reads for a project, not rendered; none if it cannot be read."""
    import yaml

    try:
        content = yaml.safe_load((folder(project) / PROFILES_FILE).read_text(encoding="utf-8"))
        return {name: output for profile in content.values() for name, output in profile.get("outputs", {}).items()}
    except (ConfigurationError, OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
        return {}


def rendered(text: str) -> str:
    """Return a text of dbt_project.yml as dbt renders it, Jinja included."""
    if "{" not in text:
        return text
    from dbt.config.renderer import DbtProjectYamlRenderer
    from dbt_common.context import set_invocation_context

    set_invocation_context(whole_environment())
    return str(DbtProjectYamlRenderer(None, {}, require_vars=False).render_value(text))


def choose(project: Path, target: str | None, variables: Mapping[str, str]) -> Chosen:
    """Return the output that dbt uses.

    Args:
        project: folder of the dbt project.
        target: name of an output; None for the profile's own.
        variables: what the child adds to the environment of dbt.

    Raises:
        ConfigurationError: the profile, or the output in it, is not there or cannot be read.
    """
    file = folder(project) / PROFILES_FILE
    with environment(variables):
        return _choose(project, file, target)


def _choose(project: Path, file: Path, target: str | None) -> Chosen:
    from dbt.config.profile import Profile, read_profile
    from dbt.config.project import PartialProject
    from dbt.config.renderer import DbtProjectYamlRenderer, ProfileRenderer
    from dbt_common.context import set_invocation_context
    from dbt_common.exceptions import DbtBaseException

    set_invocation_context(whole_environment())
    try:
        partial = PartialProject.from_project_root(str(project), verify_version=False)
        own = partial.render_profile_name(DbtProjectYamlRenderer(None, {}, require_vars=False))
        name = Profile.pick_profile_name(from_environment("DBT_PROFILE"), own)
        profiles = read_profile(str(file.parent))
        render = ProfileRenderer({}).render_value
        profile = _mapping(profiles, name, f"Could not find profile named '{name}'", file)
        output = target or str(render(profile.get("target", "default")))
        outputs = _mapping(profile, "outputs", f"The profile '{name}' has no outputs", file)
        known = ", ".join(map(str, outputs)) or "none"
        what = f"The profile '{name}' does not have a target named '{output}', only {known}"
        fields = _mapping(outputs, output, what, file)
        adapter = str(render(fields.get("type", "")))
        attached = tuple(_files(render(entry["path"]) for entry in _entries(fields.get("attach"))))
        place = " ".join(_places(fields, render))
    except (DbtBaseException, UnicodeDecodeError) as error:
        raise _refused(one_line(plain(str(error))), file) from error
    return Chosen(file, name, output, adapter, attached, place)


def _places(fields: Mapping[str, Any], render: Callable[[Any], Any]) -> Iterator[str]:
    """Yield the fields that say where an output writes; one that needs a variable of the child alone is left out."""
    from dbt_common.exceptions import DbtBaseException

    for key in PLACE:
        with suppress(DbtBaseException):
            if (value := render(fields.get(key))) is not None:
                # Options of a path may have a token.
                yield str(value).partition("?")[0]


def _entries(attach: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a list of attachments that name a path."""
    for entry in attach if isinstance(attach, list) else ():
        if isinstance(entry, Mapping) and "path" in entry:
            yield entry


def _files(paths: Iterable[Any]) -> Iterator[Path]:
    """Yield the paths that are files, not addresses such as `s3://` or `postgres:`."""
    for path in map(str, paths):
        if ":" not in path:
            yield Path(path)


def _mapping(values: Any, key: str, otherwise: str, file: Path) -> Mapping[str, Any]:
    """Return the mapping that a mapping has under a key."""
    found = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(found, Mapping):
        raise _refused(otherwise, file)
    return found


def _refused(what: str, file: Path) -> ConfigurationError:
    todo = f"correct {PROFILES_FILE}, or set DBT_TARGET to one of the profile's outputs"
    return ConfigurationError(f"dbt refused the project: {what}", location=str(file), hint=todo)
