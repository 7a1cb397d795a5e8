"""Which output of which profile dbt uses: a project's folder and DBT_TARGET in, the output as a value out.

Files are found and rendered by dbt's own rules and functions. A project without profiles.yml gets a generated one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import one_line, plain
from flow_of_flows.project import current_project
from flow_of_flows.settings import Settings, environment, from_environment, whole_environment
from flow_of_flows.warehouse import generated_profile
from flow_of_flows.warehouse.profile_variables import Recorder

PROFILES_FILE = "profiles.yml"
PROFILES_DIR = "DBT_PROFILES_DIR"
OWN_PROFILES_DIR = f"FLOWS_{PROFILES_DIR}"
GENERATED = "profile generated from the settings"


@dataclass(frozen=True)
class Profile:
    """The profile of a project, not rendered.

    Attributes:
        file: the profiles.yml that has it; None for a generated one.
        name: its name.
        content: its `target` and `outputs`.
        asked: the variables that its name needs, each with its default.
    """

    file: Path | None
    name: str
    content: Mapping[str, Any]
    asked: Mapping[str, str | None]

    @property
    def where(self) -> str:
        """Where a reader finds it."""
        return str(self.file) if self.file else GENERATED


@dataclass(frozen=True)
class Chosen:
    """The output that dbt uses, not rendered but for its type.

    Attributes:
        profile: the profile that has it.
        output: its own name.
        adapter: dbt's name of the kind of warehouse.
        asked: the variables that dbt needs to render it, each with its default; None without one.
    """

    profile: Profile
    output: str
    adapter: str
    asked: Mapping[str, str | None]

    @property
    def where(self) -> str:
        """Where a reader finds it."""
        return f"{self.profile.where}, output {self.output}"


def folder(project: Path, given: Path | None = None) -> Path | None:
    """Return the folder of the profiles.yml that dbt reads for a project; None if there is none.

    Args:
        project: folder of the dbt project.
        given: FLOWS_DBT_PROFILES_DIR.

    Raises:
        ConfigurationError: the folder that a variable names has none.
    """
    named = (OWN_PROFILES_DIR, given) if given else (PROFILES_DIR, from_environment(PROFILES_DIR))
    if named[1] is not None:
        place = Path(named[1]).absolute()
        if not (place / PROFILES_FILE).is_file():
            raise ConfigurationError(
                f"There is no {PROFILES_FILE}",
                location=f"{named[0]}={named[1]}",
                hint=f"set {named[0]} to the folder that has it, or unset it",
            )
        return place
    return next((place for place in _places(project) if (place / PROFILES_FILE).is_file()), None)


def _places(project: Path) -> tuple[Path, ...]:
    """Return where dbt looks: the folder that it is started in, which is the project's or the one around, and home."""
    return (project, current_project().folder, _home())


def _home() -> Path:
    return Path.home() / ".dbt"


def outputs(project: Path, given: Path | None = None) -> dict[str, Any]:
    """Return the outputs of the profiles.yml that dbt reads for a project, not rendered; none if it cannot be read.

    Args:
        project: folder of the dbt project.
        given: FLOWS_DBT_PROFILES_DIR.
    """
    import yaml

    try:
        place = folder(project, given)
        if place is None:
            return {}
        content = yaml.safe_load((place / PROFILES_FILE).read_text(encoding="utf-8"))
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


def choose(settings: Settings, project: Path, variables: Mapping[str, str]) -> Chosen:
    """Return the output that dbt uses.

    Args:
        settings: with the name of an output, or none for the profile's own target.
        project: folder of the dbt project.
        variables: what the child adds to the environment of dbt.

    Raises:
        ConfigurationError: the profile, or the output in it, is not there or cannot be read.
    """
    from dbt_common.context import set_invocation_context
    from dbt_common.exceptions import DbtBaseException

    place = folder(project, settings.dbt_profiles_dir)
    with environment(variables):
        set_invocation_context(whole_environment())
        try:
            return _output(_profile(project, place, settings), settings.target)
        except (DbtBaseException, UnicodeDecodeError) as error:
            raise _refused(one_line(plain(str(error))), str(place or project)) from error


def _profile(project: Path, place: Path | None, settings: Settings) -> Profile:
    """Return the profile that dbt_project.yml or DBT_PROFILE names, as profiles.yml has it, or a generated one."""
    from dbt.config.profile import Profile as DbtProfile
    from dbt.config.profile import read_profile
    from dbt.config.project import load_raw_project

    recorder = Recorder()
    own = load_raw_project(str(project)).get("profile")
    rendered_name = None if own is None else recorder.render(own, f"profile of {project / 'dbt_project.yml'}")
    name = DbtProfile.pick_profile_name(from_environment("DBT_PROFILE"), rendered_name)
    found = read_profile(str(place)) if place else {}
    # The file of a person in ~/.dbt is about projects of that person: one that it does not know is as without a file.
    if place is None or (place == _home() and name not in found):
        return Profile(None, name, generated_profile.content(settings.warehouse_folder), recorder.asked)
    file = place / PROFILES_FILE
    return Profile(
        file, name, _mapping(found, name, f"Could not find profile named '{name}'", str(file)), recorder.asked
    )


def _output(profile: Profile, target: str | None) -> Chosen:
    recorder = Recorder()
    name, where = profile.name, profile.where
    output = target or recorder.render(profile.content.get("target", "default"), f"{where}, target of {name}")
    outputs = _mapping(profile.content, "outputs", f"The profile '{name}' has no outputs", where)
    known = ", ".join(map(str, outputs)) or "none"
    what = f"The profile '{name}' does not have a target named '{output}', only {known}"
    fields = _mapping(outputs, output, what, where)
    adapter = recorder.render(fields.get("type", ""), f"{where}, output {output}")
    recorder.read(fields)
    return Chosen(profile, output, adapter, {**profile.asked, **recorder.asked})


def credentials(chosen: Chosen, variables: Mapping[str, str]) -> Any:
    """Return dbt's own value of an output's connection: rendered, and checked by the adapter.

    Args:
        chosen: the output.
        variables: what the child adds to the environment of dbt.

    Raises:
        ConfigurationError: the adapter is not installed, or refuses the output.
    """
    from dbt.adapters.factory import load_plugin
    from dbt.config.profile import Profile as DbtProfile
    from dbt.config.renderer import ProfileRenderer
    from dbt_common.context import set_invocation_context
    from dbt_common.dataclass_schema import ValidationError
    from dbt_common.exceptions import DbtBaseException

    must_be_installed(chosen)
    with environment(variables):
        set_invocation_context(whole_environment())
        try:
            raw, name = dict(chosen.profile.content), chosen.profile.name
            _, data = DbtProfile.render_profile(raw, name, chosen.output, ProfileRenderer({}))
            kind = load_plugin(data.pop("type"))
            data.pop("threads", None)
            data = kind.translate_aliases(data)
            kind.validate(data)
            return kind.from_dict(data)
        except (DbtBaseException, ValidationError) as error:
            said = one_line(plain(error.message if isinstance(error, ValidationError) else str(error)))
            what = f'Credentials in profile "{name}", target "{chosen.output}" invalid: {said}'
            raise _refused(what, chosen.profile.where) from error


def must_be_installed(chosen: Chosen) -> None:
    """Check that the adapter of an output is installed.

    Raises:
        ConfigurationError: it is not.
    """
    package = f"dbt-{chosen.adapter}"
    if not chosen.adapter:
        raise _refused(f"The output {chosen.output} has no type", chosen.profile.where)
    if not chosen.adapter.isidentifier() or find_spec(f"dbt.adapters.{chosen.adapter}") is None:
        raise ConfigurationError(
            f"The output {chosen.output} needs the package {package}, which is not installed",
            location=chosen.profile.where,
            hint=f"install {package} in the image, or choose another output with DBT_TARGET",
        )


def _mapping(values: Any, key: str, otherwise: str, where: str) -> Mapping[str, Any]:
    """Return the mapping that a mapping has under a key."""
    found = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(found, Mapping):
        raise _refused(otherwise, where)
    return found


def _refused(what: str, where: str) -> ConfigurationError:
    todo = f"correct {PROFILES_FILE}, or set DBT_TARGET to one of the profile's outputs"
    return ConfigurationError(f"dbt refused the project: {what}", location=where, hint=todo)
