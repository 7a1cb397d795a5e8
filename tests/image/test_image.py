"""What is in the images, and that they work with a read-only root as a user that no file knows."""

from __future__ import annotations

import json
import subprocess
import tomllib

import pytest

from tests.e2e.release import REPOSITORY
from tests.image.conftest import DOCKER, RESTRICTED, Image, docker

PROJECT = "/project"
BILL = "/opt/venv/sbom.cdx.json"
LOCK = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
UNCOMPILED = """
import pathlib, sysconfig
roots = ["/project/flows", "/opt/venv/lib", sysconfig.get_path("stdlib")]
idle = {"test", "tests", "testing", "setuptools", "idlelib", "lib2to3", "ensurepip", "turtledemo", "dist-packages"}
def cached(file):
    return (file.parent / "__pycache__" / f"{file.stem}.cpython-311.pyc").exists()
files = [file for root in roots for file in pathlib.Path(root).rglob("*.py") if not idle & set(file.parts)]
print(len(files) > 5000, [str(file) for file in files if not cached(file)])
"""


@pytest.mark.parametrize("name", ["base", "image"])
def test_both_are_labelled_and_run_as_a_numeric_user(name: str, request: pytest.FixtureRequest) -> None:
    """As a cluster that enforces runAsNonRoot wants it."""
    config = request.getfixturevalue(name).inspect()["Config"]
    assert config["User"] == "10001:10001"
    assert config["WorkingDir"] == PROJECT
    assert config["Entrypoint"] == ["/usr/bin/tini", "-g", "--"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert len(labels.pop("revision")) == 40
    assert labels == {
        "title": "flow-of-flows",
        "description": "Prefect pipelines around a dbt project",
        "licenses": "Apache-2.0",
        "version": "0.1.0",
    }


def test_the_base_has_no_project_in_it(base: Image) -> None:
    """An empty folder for one, and none of this repository's packages."""
    assert base.run("ls", "-A", PROJECT) == ""
    look = "import importlib.util as u; print([n for n in ('flows', 'matplotlib', 'pycountry') if u.find_spec(n)])"
    assert base.run("python", "-c", look) == "[]\n"
    assert base.run("flows", "--version") == "0.1.0\n"


def test_no_compiler_is_in_it(image: Image) -> None:
    """Nor headers and tools that only a build needs."""
    assert image.run("sh", "-c", "for tool in gcc cc make ld strip; do command -v $tool; done; true") == ""


def test_git_can_fetch_over_https(image: Image) -> None:
    """With all libraries it needs: it gets as far as the connection."""
    command = "git ls-remote https://127.0.0.1:9/x.git 2>&1; git init -q --template= /tmp/x; ls -A /tmp/x"
    printed = image.run("sh", "-c", command)
    assert "Failed to connect to 127.0.0.1 port 9" in printed
    assert printed.endswith("\n.git\n")


def test_the_bill_of_materials_names_the_locked_packages_and_the_system_s(base: Image, image: Image) -> None:
    """CycloneDX, with versions as in uv.lock; that of the project has its own packages, too."""
    listed = {name: _listed(found) for name, found in (("base", base), ("image", image))}
    locked = {package["name"]: package["version"] for package in LOCK if "version" in package}
    for name in ("prefect", "prefect-kubernetes", "dbt-core", "dbt-postgres", "duckdb", "dlt", "uv"):
        assert listed["base"][name] == locked[name], name
    for found in listed.values():
        assert {"libc6", "tini", "git", "libcurl3-gnutls"} <= set(found)
        assert {"binutils", "gcc", "pytest"}.isdisjoint(found)
    own = {"currencyconverter", "matplotlib", "pycountry"}
    assert own.isdisjoint(listed["base"])
    assert {name: listed["image"][name] for name in own} == {name: locked[name] for name in own}
    assert listed["base"].items() <= listed["image"].items()


def _listed(image: Image) -> dict[str, str]:
    bill = json.loads(image.run("cat", BILL))
    assert bill["bomFormat"] == "CycloneDX"
    return {component["name"]: component["version"] for component in bill["components"]}


def test_every_module_has_byte_code_since_nobody_can_write_it_later(image: Image) -> None:
    """Of the standard library, the environment and the project."""
    assert image.run("python", "-c", UNCOMPILED).split(" ", 1) == ["True", "[]\n"]


def test_a_whole_pipeline_runs_in_it(image: Image) -> None:
    """Ingest, dbt and dashboards with the embedded server: nothing is written but below /tmp."""
    command = "flows run jaffle-shop; find /tmp/flows/dbt -name partial_parse.msgpack"
    printed = image.run("sh", "-c", command, FLOWS_RATES_SOURCE="snapshot", FLOWS_CURRENCIES_SOURCE="snapshot")
    assert "6 of 6 steps completed" in printed
    # A child keeps its own parse only where the one that the image brings does not fit.
    assert not printed.endswith("partial_parse.msgpack\n")


def test_the_baked_parse_is_used_where_the_connection_is_the_same(image: Image) -> None:
    """No file has changed, dbt says, since the image was built."""
    printed = image.run(
        *(
            "dbt",
            "--debug",
            "parse",
            "--project-dir",
            f"{PROJECT}/docker/dbt",
            "--profiles-dir",
            f"{PROJECT}/docker/dbt",
        ),
        *("--target-path", "/tmp/target", "--log-path", "/tmp/logs"),
        *("--partial-parse-file-path", f"{PROJECT}/docker/dbt/target/partial_parse.msgpack"),
        DBT_TARGET="duckdb",
        DBT_DUCKDB_FOLDER="/tmp/flows/warehouse",
    )
    assert "Partial parsing enabled: 0 files deleted, 0 files added, 0 files changed." in printed
    assert "Unable to do partial parsing" not in printed


def test_init_hands_signals_on(image: Image) -> None:
    """A SIGTERM ends what runs, and the exit code says so."""
    name = "flow-of-flows-signals"
    waits = "import signal, time; print('ready', flush=True); signal.pause()"
    process = subprocess.Popen(
        [*DOCKER, "run", "--rm", "--name", name, *RESTRICTED, image.name, "python", "-c", waits],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    docker("kill", "--signal=TERM", name)
    assert process.wait(20) == 143
