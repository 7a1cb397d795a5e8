"""A step whose deployment does not exist: `flows register` warns, `flows doctor` says so, `flows run` refuses."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.actions import WorkPoolCreate

from tests.commands import Ended, flows
from tests.fixtures.registrations import Project

# Two flows of other teams, which the embedded session of the tests has too: score-model/production and plain-async.
TEAM = """
from flow_of_flows import Step, pipeline

forecast = pipeline(
    "{name}-forecast",
    Step("work", deployment="work/{name}-first"),
    Step("score", deployment="score-model/produktion", after="work"),
    Step("export", deployment="export/{name}", after="score"),
    Step("waits", deployment="plain-async/plain-async"),
)
weekly = pipeline("{name}-weekly", Step("forecast", deployment="{name}-forecast/{name}-forecast", pipeline=forecast))
"""


@pytest.fixture
def team(project: Project) -> Project:
    """A project with a pipeline whose steps another team owns, and a pipeline around it."""
    module = project.folder / "team.py"
    module.write_text(TEAM.format(name=project.name))
    for name in ("forecast", "weekly"):
        project.deploy(name, entrypoint=f"{module}:{name}", tags=["flow-of-flows", "pipeline"])
    return project


def export(team: Project) -> None:
    """Register the deployment of the other team, in its own work pool."""
    pool = f"{team.name}-theirs"
    team.client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    team.client.create_deployment(team.client.create_flow_from_name("export"), team.name, work_pool_name=pool)


def sentence(team: Project, step: str, deployment: str, close: str = "", *, pipeline: str = "forecast") -> str:
    """What is said of a step without a child."""
    return (
        f"Step {step} of pipeline {team.name}-{pipeline} has no child: neither prefect.yaml nor the API has the "
        f"deployment {deployment}. Where: {team.api}. Next: {close}correct the step, declare the deployment in "
        "prefect.yaml, or have its team register it."
    )


CLOSE = "did you mean score-model/production? "


def test_register_warns_of_each_step_without_a_child_and_registers(team: Project) -> None:
    """Another team may register its deployment later; then nothing is said of it, also with another pool."""
    _, said = team.register(only_plan=True)
    warnings = [line.removeprefix("Warning: ") for line in said.splitlines() if line.startswith("Warning: ")]
    score, own = "score-model/produktion", f"export/{team.name}"
    assert warnings[0] == sentence(team, "score", score, CLOSE)
    assert warnings[1].startswith(f"Step export of pipeline {team.name}-forecast has no child: ")
    assert warnings[2] == sentence(team, "forecast/score", score, CLOSE, pipeline="weekly")
    assert warnings[3].startswith(f"Step forecast/export of pipeline {team.name}-weekly has no child: ")
    assert len(warnings) == 4
    export(team)
    plan, said = team.register()
    assert {change.name for change in plan} >= {f"{team.name}-forecast/{team.name}-forecast"}
    assert [line for line in said.splitlines() if own in line] == []
    assert said.count("Warning: ") == 2


def test_a_suffix_of_the_release_is_part_of_its_own_deployments_only(team: Project) -> None:
    """A step that names a deployment of prefect.yaml gets it, one of another team does not."""
    team.suffix = "-eu"
    _, said = team.register(only_plan=True)
    assert said.count("Warning: ") == 4
    assert f"work/{team.name}-first" not in said.partition("Prefect API")[0]


def doctor(team: Project, **more: str) -> str:
    """What is said of the steps, with what to do."""
    settings = team.settings()
    ended = flows("doctor", **({"FLOWS_DEPLOYMENTS": str(settings.deployments), "COLUMNS": "10000"} | more))
    lines = [line.strip() for line in ended.out.splitlines()]
    place = next(number for number, line in enumerate(lines) if line.split()[1:2] == ["steps"])
    below = lines[place + 1].removeprefix("→ ") if lines[place + 1].startswith("→") else ""
    return " ".join(f"{lines[place]} {below}".split())


def test_doctor_says_which_step_has_no_child(team: Project) -> None:
    """On an API it is wrong; without one it is a warning, for another API may have it."""
    team.register()
    api = {
        "PREFECT_API_URL": team.api,
        "FLOWS_WORK_POOL": team.name,
        "FLOWS_REGISTRATION": str(team.folder / "registration.yaml"),
    }
    said = doctor(team, **api)
    assert said.startswith(f"wrong steps Step score of pipeline {team.name}-forecast has no child: neither ")
    assert "score-model/produktion (3 more like it). " in said
    assert said.endswith(
        f"{CLOSE}correct the step, declare the deployment in prefect.yaml, or have its team register it"
    )
    alone = doctor(team)
    assert alone.startswith(
        f"warning steps Step score of pipeline {team.name}-forecast has no child: prefect.yaml does not have the "
        "deployment score-model/produktion. "
    )
    file = team.folder / "team.py"
    file.write_text(file.read_text().replace("produktion", "production"))
    export(team)
    assert doctor(team, **api) == "ok steps 5 deployments are named by steps, and all exist"


def test_run_refuses_such_a_pipeline_before_it_starts_anything(team: Project) -> None:
    """Exit code 2, on the API and here; steps that do not run are not missed."""
    team.register()
    settings = team.settings()
    variables = {"FLOWS_DEPLOYMENTS": str(settings.deployments)}
    name = f"{team.name}-forecast"
    refused = flows("run", name, PREFECT_API_URL=team.api, **variables)
    score = sentence(team, "score", "score-model/produktion", CLOSE)
    assert refused == Ended(2, "", f"error: {score}\n")
    nested = flows("run", f"{team.name}-weekly", PREFECT_API_URL=team.api, **variables)
    assert nested.err.startswith(f"error: Step forecast/score of pipeline {team.name}-weekly has no child: ")
    here = flows("run", name, **variables)
    assert (here.code, here.out) == (2, "")
    assert here.err == (
        f"error: Step score of pipeline {name} has no child: prefect.yaml does not have the deployment "
        f"score-model/produktion. Where: {settings.deployments}. Next: declare it there, correct the step, leave it "
        "out (`--skip score`), or run the pipeline where it is registered.\n"
    )
    only = flows("run", name, "--only", "work", **variables)
    assert (only.code, only.err) == (0, "")
    assert "work: completed" in only.out.splitlines()


PLAIN = """
from prefect import flow
from flow_of_flows import Step, pipeline


@flow(name="score-model")
def score(city: str, day: str = "today") -> str:
    return f"scored {city} {day}"


@flow(name="moody")
def moody(file: str) -> str:
    from pathlib import Path

    assert Path(file).exists(), "no file yet"
    return "well"


good = pipeline("good", Step("score", deployment="score-model/production"))
twisted = pipeline("twisted", Step("score", deployment="production/score-model"))
"""
DEPLOYMENTS = """
deployments:
  - {name: good, entrypoint: team_flows.good, tags: [pipeline]}
  - {name: twisted, entrypoint: team_flows.twisted, tags: [pipeline]}
  - {name: production, entrypoint: "team_flows.py:score"}
  - {name: moody, entrypoint: team_flows.moody}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of plain flows, and the working directory."""
    (tmp_path / "team_flows.py").write_text(PLAIN)
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWS_HOME")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "good",
            (
                "Step score of pipeline good does not pass city, which score-model/production requires. "
                "Where: {file}. Next: add it to the step's parameters, or `--set score.city=VALUE`."
            ),
        ),
        (
            "twisted",
            (
                "Step score of pipeline twisted has no child: prefect.yaml does not have the deployment "
                "production/score-model. Where: {file}. Next: declare it there, correct the step, leave it out "
                "(`--skip score`), or run the pipeline where it is registered."
            ),
        ),
        ("production", "production requires city. Where: --set. Next: add `--set city=VALUE`."),
    ],
)
def test_what_a_plain_flow_requires_is_missed_before_anything_starts(words: str, message: str, folder: Path) -> None:
    """As a step and alone."""
    assert flows("run", words) == Ended(2, "", f"error: {message.format(file=folder / 'prefect.yaml')}\n")


@pytest.mark.usefixtures("folder")
def test_parameters_of_the_wrong_type_are_refused_in_the_api_s_words() -> None:
    """Not with a traceback; the form of the flow counts."""
    ended = flows("run", "production", "--set", "city=7")
    assert ended.code == 2
    words = "Validation failed for field 'city'. Failure reason: 7 is not of type 'string'"
    assert f"error: The run cannot be created: Error creating flow run: {words}. " in ended.err


def test_a_failed_plain_flow_is_resumed_by_the_command_that_its_page_shows(folder: Path) -> None:
    """Under its own id, from its beginning, as Prefect's Retry does."""
    failed = flows("run", "moody", "--set", f"file={folder / 'there'}")
    assert failed.code == 1
    assert "- **Why:** Flow run encountered an exception: AssertionError: no file yet" in failed.out
    run = failed.out.partition("flows resume ")[2].split()[0]
    (folder / "there").touch()
    resumed = flows("resume", run)
    assert (resumed.code, resumed.err) == (0, "")
    assert "# moody completed" in resumed.out


def test_a_step_without_a_slash_gets_the_name_it_may_mean(folder: Path) -> None:
    """When the module is imported."""
    module = folder / "team_flows.py"
    module.write_text(module.read_text().replace("score-model/production", "prodution"))
    ended = flows("run", "good")
    assert ended == Ended(
        2,
        "",
        "error: Step score names no deployment: 'prodution'. Where: pipeline. "
        "Next: did you mean production/production? write `flow name/deployment name`.\n",
    )


def test_a_run_of_a_flow_that_the_project_does_not_have_is_not_resumed_here(folder: Path) -> None:
    """Nothing of this session would start it."""
    failed = flows("run", "moody", "--set", f"file={folder / uuid4().hex}")
    run = failed.out.partition("flows resume ")[2].split()[0]
    file = folder / "prefect.yaml"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "moody" not in line))
    ended = flows("resume", run)
    assert ended.code == 2
    assert ended.err.startswith(f"error: moody is not a flow of this project. Where: {file}. Next: ")
