"""The test kit in a team's project: real pytest sessions, real children, the end of each test."""

from __future__ import annotations

import re
from pathlib import Path

from tests.commands import REPOSITORY
from tests.fixtures.pytest_sessions import session, write_project

BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_of_the_documentation_passes(tmp_path: Path) -> None:
    """The page's project and its tests, as a team would copy them."""
    blocks = BLOCK.findall((REPOSITORY / "docs" / "testing.md").read_text())
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    ended = session(tmp_path)
    assert (ended.code, set(ended.ends.values())) == (0, {""}), ended.out
    assert [name for name, _ in blocks if name.startswith("test_")] == [
        "test_weather.py",
        "test_forecast.py",
        "test_failures.py",
        "test_settings.py",
    ]
    assert len(ended.ends) == 8


CHILDREN = """
from types import SimpleNamespace

import team_flows
from flow_of_flows import ConfigurationError, DataError
from flow_of_flows.testing import ChildResult, RunChild


def test_by_name(run_child: RunChild) -> None:
    assert run_child("load", city="Rome", days="3") == ChildResult(
        state="completed", message="loaded Rome", report=run_child(team_flows.load, city="Rome", days=3).report
    )


def test_a_report(run_child: RunChild) -> None:
    result = run_child("extra")
    assert (result.summary, result.facts, result.warnings) == ("did more", {}, ("nothing to do",))


def test_a_failure(run_child: RunChild) -> None:
    result = run_child("load", city="Rome", fail=True)
    assert (result.state, result.cause, result.message) == (
        "failed", "data", "A row is bad. Where: Rome.csv. Next: correct the row."
    )
    assert result.report.model_dump(exclude_defaults=True) == {
        "summary": "A row is bad. Where: Rome.csv.", "cause": "data", "todo": "correct the row"
    }
    assert type(result.error) is DataError


def test_an_exception(run_child: RunChild) -> None:
    result = run_child("load", city="Babel")
    assert (result.state, result.cause, result.report) == ("failed", "error", None)
    assert result.message == "Flow run encountered an exception: ZeroDivisionError: nothing divides by zero"
    assert (result.summary, result.facts, result.warnings) == ("", {}, ())
    assert type(result.error) is ZeroDivisionError


def test_this_process(run_child: RunChild, monkeypatch) -> None:
    monkeypatch.setattr(team_flows, "os", SimpleNamespace(environ={"SEEN": "patched"}))
    assert run_child("load", city="Rome").facts == {"days": 1, "seen": "patched"}


def test_own_process(run_child: RunChild, monkeypatch) -> None:
    monkeypatch.setenv("SEEN", "yes")
    here, there = run_child("load", city="Rome"), run_child.in_own_process("load", city="Rome")
    assert here == there
    assert there.facts == {"days": 1, "seen": "yes"}
    monkeypatch.delenv("SEEN")
    assert run_child.in_own_process(team_flows.load, city="Rome").facts == {"days": 1, "seen": ""}


def test_a_failure_in_its_own_process(run_child: RunChild) -> None:
    here = run_child("load", city="Rome", fail=True)
    there = run_child.in_own_process("load", city="Rome", fail=True)
    assert (here.state, here.cause, here.message) == (there.state, there.cause, there.message)
    assert here.report == there.report


def test_tasks(run_child: RunChild) -> None:
    assert run_child.in_own_process("doubled").facts == {"number": 8}


def test_a_plain_flow(run_child: RunChild) -> None:
    assert run_child("score") == ChildResult(state="completed")
    bad = run_child(team_flows.score, rounds=9)
    assert (bad.state, bad.cause, bad.report) == ("failed", "error", None)
    assert bad.message == "Flow run encountered an exception: ValueError: Too many rounds"
"""


def test_children_run_and_report(tmp_path: Path) -> None:
    """In the test's process and in one of their own; by name and as objects; what they say and how they end."""
    ended = session(write_project(tmp_path, test_children=CHILDREN))
    assert ended.ends == dict.fromkeys(re.findall(r"def (test_\w+)", CHILDREN), ""), ended.out


PIPELINES = """
from uuid import UUID

NOT_RUN = {
    "inner": "failed", "inner/load": "failed", "inner/extra": "not run", "score": "not run", "extra": "completed"
}


def test_completed(run_pipeline, monkeypatch):
    monkeypatch.setenv("SEEN", "yes")
    result = run_pipeline("main", parameters={"inner/load": {"days": 7}, "score": {"rounds": 1}})
    assert result.verdict == "completed"
    assert (result.pipeline, result.message) == ("main", "3 of 3 steps completed")
    assert result.states == dict.fromkeys(["inner", "inner/load", "inner/extra", "score", "extra"], "completed")
    assert result.causes == {}
    assert result.outcomes["inner/load"].report.facts == {"days": 7, "seen": "yes"}
    assert type(result.run_id) is UUID
    assert result.page.startswith("# main completed")
    assert f"(`{result.run_id}`)" in result.page


def test_selection(run_pipeline):
    result = run_pipeline("main", only=["inner", "extra"], skip=["extra"], parameters={"inner": {"only": ["extra"]}})
    assert result.states == {
        "inner": "completed", "inner/load": "left out", "inner/extra": "completed", "score": "left out",
        "extra": "left out",
    }


def test_failed_and_resumed(run_pipeline, fail_step):
    with fail_step("inner/load", message="A column is missing", cause="data"):
        failed = run_pipeline("main")
        assert failed.resume().states == NOT_RUN
    assert (failed.verdict, failed.states) == ("failed", NOT_RUN)
    assert failed.causes == {"inner": "data", "inner/load": "data"}
    assert failed.outcomes["inner/load"].message == "A column is missing."
    assert "A column is missing" in failed.page
    resumed = failed.resume()
    assert (resumed.verdict, resumed.run_id) == ("completed", failed.run_id)
    assert resumed.outcomes["extra"].reused
    assert resumed.outcomes["score"].child.attempt == 1


def test_completed_and_resumed(run_pipeline):
    result = run_pipeline("inner").resume()
    assert result.states == {"load": "completed", "extra": "completed"}
    assert [outcome.reused for outcome in result.outcomes.values()] == [True, True]


def test_degraded(run_pipeline, fail_step):
    fail_step("extra")
    result = run_pipeline("inner")
    assert (result.verdict, result.states) == ("degraded", {"load": "completed", "extra": "failed"})
    assert result.outcomes["extra"].message == "The test made this step fail."


def test_retried_without_pauses(run_pipeline, fail_step):
    fault = fail_step("load", cause="platform", attempts=2)
    outcome = run_pipeline("inner").outcomes["load"]
    assert [(one.cause, one.child.attempt) for one in outcome.earlier] == [("platform", 1), ("platform", 2)]
    assert (outcome.state, outcome.child.attempt) == ("completed", 3)
    # The rule says 15 s and a minute.
    assert (outcome.child.started - outcome.earlier[0].child.ended).total_seconds() < 15
    fault.remove()
    assert run_pipeline("inner", only=["load"]).outcomes["load"].child.attempt == 1


def test_causes_of_a_cluster(run_pipeline, fail_step):
    fail_step("load", cause="evicted")
    result = run_pipeline("inner", only=["load"])
    assert result.message == "0 of 2 steps completed; failed: load (evicted; attempt 3 of 3)"


def test_killed(run_pipeline, kill_step):
    kill_step("load", attempts=1)
    result = run_pipeline("inner", only=["load"])
    assert (result.verdict, result.outcomes["load"].child.attempt) == ("completed", 2)
    assert [one.cause for one in result.outcomes["load"].earlier] == ["crashed"]


def test_killed_each_time(run_pipeline, kill_step):
    kill_step("score")
    result = run_pipeline("main", only=["score"])
    assert result.message == "0 of 3 steps completed; failed: score (crashed; attempt 2 of 2)"
    assert "-9" in result.outcomes["score"].message


def test_a_pipeline_within_is_killed_once_and_goes_on(run_pipeline, kill_step):
    kill_step("inner", attempts=1)
    result = run_pipeline("main", only=["inner"])
    assert (result.verdict, result.outcomes["inner"].child.run_count) == ("completed", 2)


def test_the_newest_fault_of_a_step_counts(run_pipeline, fail_step, kill_step):
    kill_step("load")
    fail_step("load", cause="data")
    assert run_pipeline("inner").causes == {"load": "data"}
"""


def test_pipelines_run_fail_and_are_resumed(tmp_path: Path) -> None:
    """Verdicts, states, causes, attempts and pages, exactly; steps within a step that is a pipeline, too."""
    ended = session(write_project(tmp_path, test_pipelines=PIPELINES))
    assert ended.ends == dict.fromkeys(re.findall(r"def (test_\w+)", PIPELINES), ""), ended.out


MISTAKES = """
def test_child(run_child):
    run_child("laod", city="Rome")

def test_parameter(run_child):
    run_child("load", town="Rome", city="Rome", dayz=1)

def test_missing(run_child):
    run_child("load")

def test_misfit(run_child):
    run_child("load", city="Rome", days="many")

def test_tasks(run_child):
    run_child("doubled")

def test_pipeline_as_child(run_child):
    run_child("main")

def test_no_report(run_child, monkeypatch):
    import team_flows
    monkeypatch.setattr(team_flows, "ChildReport", dict)
    run_child("load", city="Rome")

def test_undeclared(run_child):
    from prefect import flow
    run_child(flow(name="nowhere")(lambda: None))

def test_child_as_pipeline(run_pipeline):
    run_pipeline("load")

def test_pipeline(run_pipeline):
    run_pipeline("mian")

def test_selection(run_pipeline):
    run_pipeline("main", only=["scor"])

def test_nothing_left(run_pipeline):
    run_pipeline("inner", skip=["load", "extra"])

def test_parameters(run_pipeline):
    run_pipeline("main", parameters={"inner/laod": {}})

def test_undeclared_step(run_pipeline):
    run_pipeline("elsewhere")

def test_other_file(run_pipeline, monkeypatch, tmp_path):
    from pathlib import Path
    file = tmp_path / "prefect.yaml"
    file.write_text(Path("prefect.yaml").read_text().replace("name: inner", "name: inside"))
    monkeypatch.setenv("FLOWS_DEPLOYMENTS", str(file))
    run_pipeline("inside")

def test_too_deep(run_pipeline):
    run_pipeline("main", parameters={"score/model": {}})

def test_fail_step(run_pipeline, fail_step):
    fail_step("scor")
    run_pipeline("main")

def test_kill_step(run_pipeline, kill_step):
    kill_step("score/model")
    run_pipeline("main")

def test_cause(fail_step):
    fail_step("score", cause="platfrom")

def test_attempts(kill_step):
    kill_step("score", attempts=0)

def test_setting(run_child, monkeypatch):
    monkeypatch.setenv("FLOWS_THREDS", "2")
    run_child("load", city="Rome")
"""
CHOICE = "it takes city, days, fail"
STEPS = "its steps are inner, score, extra"
SENTENCES = {
    "test_child": (
        "Unknown deployment laod. Where: {folder}/prefect.yaml. Next: did you mean load? there are main, inner, "
        "holding, elsewhere, load, extra, hold, doubled, score."
    ),
    "test_parameter": f"load has no parameter town. Where: run_child. Next: {CHOICE}.",
    "test_missing": f"load needs the parameter city. Where: run_child. Next: pass it; {CHOICE}.",
    "test_misfit": (
        "A parameter of load does not fit: days: Input should be a valid integer, unable to parse string as an "
        "integer. Where: run_child. Next: correct the value."
    ),
    "test_tasks": (
        "doubled uses the Prefect API (a task, a block or a variable), and the test's process has none. "
        "Where: run_child. Next: call run_child.in_own_process."
    ),
    "test_pipeline_as_child": "main is a pipeline. Where: run_child. Next: use run_pipeline.",
    "test_no_report": "load returned a dict. Where: run_child. Next: return a ChildReport.",
    "test_undeclared": "The flow nowhere has no deployment. Where: {folder}/prefect.yaml. Next: add one.",
    "test_child_as_pipeline": (
        "load is not a pipeline. Where: {folder}/prefect.yaml, entrypoint team_flows.load. Next: name one."
    ),
    "test_pipeline": (
        "Unknown deployment mian. Where: {folder}/prefect.yaml. Next: did you mean main? there are main, inner, "
        "holding, elsewhere, load, extra, hold, doubled, score."
    ),
    "test_selection": f"Unknown step scor (only). Where: pipeline main. Next: did you mean score? {STEPS}.",
    "test_nothing_left": ("Nothing is left to run. Where: only/skip of inner. Next: leave out fewer steps."),
    "test_parameters": (
        "Unknown step laod (parameters). Where: pipeline inner. Next: did you mean load? its steps are load, extra."
    ),
    "test_undeclared_step": (
        "Step away of pipeline elsewhere has no child: prefect.yaml does not have the deployment theirs/production. "
        "Where: {folder}/prefect.yaml. Next: declare it there, correct the step, leave it out (`--skip away`), or run "
        "the pipeline where it is registered."
    ),
    "test_other_file": (
        "The embedded server of this test session has no deployment inside. "
        "Next: declare it in the prefect.yaml of the folder that pytest runs in."
    ),
    "test_too_deep": "score/model goes too deep: score is not a pipeline. Where: parameters. Next: write score.",
    "test_fail_step": f"Unknown step scor (fail_step). Where: pipeline main. Next: did you mean score? {STEPS}.",
    "test_kill_step": "score/model goes too deep: score is not a pipeline. Where: kill_step. Next: write score.",
    "test_attempts": ("attempts=0 leaves nothing to fail. Where: fail_step or kill_step. Next: 1 is the least."),
    "test_setting": (
        "Unknown setting FLOWS_THREDS. Where: environment. Next: did you mean FLOWS_THREADS? Otherwise unset it."
    ),
}


def test_each_mistake_of_a_test_is_one_sentence(tmp_path: Path) -> None:
    """What, where, and what to do; the report shows the line of the test, and none of the kit's."""
    ended = session(write_project(tmp_path, test_mistakes=MISTAKES), "--tb=short")
    expected = {name: f"Failed: {text.format(folder=tmp_path)}" for name, text in SENTENCES.items()}
    assert {name: ended.ends[name] for name in expected} == expected
    assert ended.ends["test_cause"].startswith(
        "Failed: Unknown cause platfrom. Where: fail_step. Next: did you mean platform? there are dbt-nodes-failed, "
    )
    assert len(ended.ends) == len(expected) + 1
    assert "flow_of_flows/testing" not in ended.out


def test_a_server_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    """The reason of the server's process."""
    write_project(tmp_path, test_it='def test_it(run_pipeline):\n    run_pipeline("holding")\n')
    file = tmp_path / "prefect.yaml"
    file.write_text(file.read_text().replace("team_flows.extra", "team_flows.extar"))
    assert session(tmp_path).ends["test_it"] == (
        "Failed: Deployment extra does not load: Flow function with "
        "name 'extar' not found in 'team_flows'. Where: prefect.yaml, entrypoint team_flows.extar. "
        "Next: correct the entrypoint, or install the extra it needs."
    )
