"""What is in the image, and that it works with a read-only root as a user that no file knows."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.e2e.release import REPOSITORY
from tests.image.conftest import DOCKER, IMAGE, RESTRICTED, Image

PROJECT = "/project"
LOCK = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
UNCOMPILED = """
import pathlib, sysconfig
roots = ["/project/flows", "/opt/venv/lib", sysconfig.get_path("stdlib")]
def cached(file):
    return (file.parent / "__pycache__" / f"{file.stem}.cpython-311.pyc").exists()
files = [file for root in roots for file in pathlib.Path(root).rglob("*.py")]
print(len(files) > 5000, [str(file) for file in files if not cached(file)])
"""


def test_it_is_labelled_and_runs_as_a_numeric_user(image: Image) -> None:
    """As a cluster that enforces runAsNonRoot wants it."""
    config = image.inspect()["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/bin/tini", "-g", "--"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert len(labels.pop("revision")) == 40
    assert labels == {
        "title": "flow-of-flows",
        "description": "Prefect pipelines around a dbt project",
        "licenses": "Apache-2.0",
        "version": "0.1.0",
    }


def test_no_tool_that_builds_or_installs_is_in_it(image: Image) -> None:
    """Neither compilers nor package managers, nor the Perl that Debian's git comes with."""
    found = image.run(
        "sh",
        "-c",
        "for tool in gcc cc make uv pip pip3 apt apt-get dpkg perl curl scalar; do command -v $tool; done; true",
    )
    assert found == ""


def test_git_can_fetch_over_https(image: Image) -> None:
    """With all libraries it needs: it gets as far as the connection."""
    command = "git ls-remote https://127.0.0.1:9/x.git 2>&1; git init -q --template= /tmp/x; ls -A /tmp/x"
    printed = image.run("sh", "-c", command)
    assert "Failed to connect to 127.0.0.1 port 9" in printed
    assert printed.endswith("\n.git\n")


def test_the_bill_of_materials_names_the_locked_packages_and_the_system_s(image: Image) -> None:
    """CycloneDX, with versions as in uv.lock; of Debian's packages what is still installed."""
    bill = json.loads(image.run("cat", f"{PROJECT}/sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {component["name"]: component["version"] for component in bill["components"]}
    locked = {package["name"]: package["version"] for package in LOCK if "version" in package}
    for name in ("prefect", "prefect-kubernetes", "dbt-core", "dbt-postgres", "duckdb", "dlt"):
        assert listed[name] == locked[name], name
    assert {"libc6", "tini", "git", "libcurl3-gnutls"} <= set(listed)
    assert {"perl-base", "apt", "binutils", "setuptools"}.isdisjoint(listed)


def test_every_module_has_byte_code_since_nobody_can_write_it_later(image: Image) -> None:
    """Of the standard library, the environment and the project."""
    assert image.run("python", "-c", UNCOMPILED).split(" ", 1) == ["True", "[]\n"]


def test_a_whole_pipeline_runs_in_it(image: Image) -> None:
    """Ingest, dbt and dashboards with the embedded server: nothing is written but below /tmp."""
    printed = image.run(
        "flows", "run", "jaffle-shop", FLOWS_RATES_SOURCE="snapshot", FLOWS_CURRENCIES_SOURCE="snapshot"
    )
    assert "6 of 6 steps completed" in printed


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
    image.docker("kill", "--signal=TERM", name)
    assert process.wait(20) == 143


def test_a_project_that_does_not_parse_becomes_no_image(tmp_path: Path) -> None:
    """The build ends with dbt's own words."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    model = tmp_path / "docker/dbt/models/marts/broken.sql"
    model.write_text("select * from {{ ref('nobody') }}")
    tag = f"{IMAGE}-broken"
    done = subprocess.run(
        [*DOCKER, "build", "--network=host", "--progress=plain", "--tag", tag, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "depends on a node named 'nobody' which was not found" in done.stderr
    with pytest.raises(subprocess.CalledProcessError):
        Image(tag).inspect()
