"""The pure parts of the dbt Cloud child: commands, causes, new lines of logs, the picture of a run."""

from __future__ import annotations

from uuid import UUID

import pytest

from flow_of_flows.dbt_cloud.child import JobOverrides, RunOrigin, body, is_of, refreshed
from flow_of_flows.dbt_cloud.client import base_address
from flow_of_flows.dbt_cloud.follow import Lines, markdown
from flow_of_flows.dbt_cloud.models import CloudRun, CloudRunStatus, CloudStep

RUN = UUID("00000000-0000-4000-8000-00000000000c")
OTHER = UUID("00000000-0000-4000-8000-00000000000d")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("dbt build", "dbt build --full-refresh"),
        ("dbt run -s +orders --vars '{a: 1}'", "dbt run -s +orders --vars '{a: 1}' --full-refresh"),
        ("dbt --warn-error seed", "dbt --warn-error seed --full-refresh"),
        ("dbt build --full-refresh", "dbt build --full-refresh"),
        ("dbt build -f", "dbt build -f"),
        ("dbt build --vars '{a: ", "dbt build --vars '{a:  --full-refresh"),
        ("dbt test", "dbt test"),
        ("dbt source freshness", "dbt source freshness"),
        ("dbt run-operation build", "dbt run-operation build --full-refresh"),
    ],
)
def test_commands_that_know_full_refresh_get_it_once(step: str, expected: str) -> None:
    """What cannot be read as a shell would is left to dbt to refuse."""
    assert refreshed([step, "dbt run"])[0] == expected


def test_the_trigger_says_only_what_differs_from_the_job() -> None:
    """The cause alone, or all of it."""
    assert body(JobOverrides(), "why", ["dbt build"]) == {"cause": "why"}
    assert body(JobOverrides(full_refresh=True, git_branch="b", schema_override="s"), "why", ["dbt build"]) == {
        "cause": "why",
        "steps_override": ["dbt build --full-refresh"],
        "git_branch": "b",
        "schema_override": "s",
    }


def test_a_cause_is_known_by_its_run_in_any_attempt_and_a_long_name_is_cut() -> None:
    """A name that holds an id of another run does not deceive."""
    cause = RunOrigin(RUN, "keen-owl-dbt-build", 2).cause
    assert cause == f"flow-of-flows keen-owl-dbt-build {RUN} attempt 2"
    assert (is_of(cause, RUN), is_of(cause, OTHER), is_of(f"by hand {RUN}", RUN)) == (True, False, False)
    assert len(RunOrigin(RUN, "n" * 500, 1).cause) == 14 + 100 + 1 + 36 + 10


def test_a_host_is_asked_over_https_unless_it_says_otherwise() -> None:
    """A stand-in may be plain."""
    assert base_address("emea.dbt.com/") == "https://emea.dbt.com"
    assert base_address("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"


def run(*logs: str, status: CloudRunStatus = CloudRunStatus.RUNNING) -> CloudRun:
    """A run of steps with these logs."""
    steps = [CloudStep(index=place, name=f"step {place}", status=status, logs=log) for place, log in enumerate(logs, 1)]
    return CloudRun(id=1, job_definition_id=2, status=status, run_steps=tuple(steps))


def new(lines: Lines, now: CloudRun) -> list[tuple[int, str]]:
    """New lines by the step's index."""
    return [(step.index, line) for step, line in lines.new(now)]


def test_only_new_and_whole_lines_are_logged_by_step() -> None:
    """Empty ones are left out, colours, too."""
    lines = Lines()
    assert new(lines, run("\x1b[31mone\x1b[0m\n\ntw")) == [(1, "one")]
    assert new(lines, run("\x1b[31mone\x1b[0m\n\ntwo\nthree")) == [(1, "two")]
    assert new(lines, run("one\n\ntwo\nthree", "a\n")) == [(2, "a")]
    assert new(lines, run("one\n\ntwo\nthree", "a\n", status=CloudRunStatus.SUCCESS)) == [(1, "three")]
    assert new(lines, run("one\n\ntwo\nthree", "a\n", status=CloudRunStatus.SUCCESS)) == []


def test_a_log_that_was_cut_at_its_beginning_goes_on_where_it_was() -> None:
    """The API gives the end of a long log; the same line twice is not taken for the first one."""
    lines = Lines()
    everything = ["OK" if number % 3 else f"line {number}" for number in range(40)]
    new(lines, run("\n".join(everything[:30]) + "\n"))
    cut = run("\n".join(everything[20:40]) + "\n")
    assert [text for _, text in new(lines, cut)] == everything[30:40]
    assert new(lines, run("another log\n")) == [(1, "another log")]


def test_the_picture_links_the_run_and_its_manifest_and_names_its_steps() -> None:
    """A bar in a step's name does not break the table."""
    now = CloudRun(
        id=9,
        job_definition_id=2,
        status=CloudRunStatus.ERROR,
        status_message="No  good",
        run_steps=(CloudStep(index=1, name="dbt run | tee", status=CloudRunStatus.ERROR),),
    )
    assert markdown(now, "https://page", "https://manifest") == (
        "[Run 9](https://page) in dbt Cloud: **error**: No good\n\n"
        "1 of 1 steps are over. [manifest.json](https://manifest) (needs a token)\n\n"
        "| step | state |\n|---|---|\n| dbt run \\| tee | error |"
    )
