"""The kernel's count of kills, of both versions of cgroups."""

from __future__ import annotations

from pathlib import Path

from flow_of_flows.pod.engine import Kills, kills


def test_cgroup_v2(tmp_path: Path) -> None:
    """`oom_kill` of memory.events, and memory.max."""
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "memory.max").write_text("402653184\n")
    assert kills(tmp_path) == Kills(2, 402653184)


def test_cgroup_v1(tmp_path: Path) -> None:
    """`oom_kill` of memory.oom_control; the largest number means no limit."""
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert kills(tmp_path) == Kills(1, None)


def test_no_cgroup_is_no_kill(tmp_path: Path) -> None:
    """Prefect's own words then stand."""
    assert kills(tmp_path) == Kills(0, None)


def test_a_kill_is_said_with_the_limit() -> None:
    """Only one that came since."""
    before = Kills(1, 402653184)
    assert before.said(before) is None
    assert Kills(2, 402653184).said(before) == (
        "the kernel killed the run's process at its limit of 384Mi; give the deployment more memory (`memory_limit`)"
    )
