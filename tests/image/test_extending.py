"""What a team does with the base image: its own project in three lines, other packages, and bad input."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.fixtures.baked import NO_INDEX, TeamProject
from tests.fixtures.http_server import Request, Response, responding
from tests.image.conftest import Image, built, docker, refused_build

BAKE = "COPY --chown=10001:10001 . /project\nRUN flows bake"
FLOWS = '''
import weatherlib

from flow_of_flows import ChildReport, Step, child, pipeline


@child("weather")
def weather(city: str = "Berlin") -> ChildReport:
    """Load the weather.

    Args:
        city: whose weather.
    """
    return ChildReport(summary=f"the weather of {city} is {weatherlib.WEATHER}", facts={"rows": 1})


forecast = pipeline("forecast", Step("weather", parameters={"city": "Rome"}))
'''
DEPLOYMENTS = """
pull:
  - prefect.deployments.steps.set_working_directory: {directory: /project}
deployments:
  - {name: forecast, entrypoint: team_flows.forecast}
  - {name: weather, entrypoint: team_flows.weather}
"""
PASSWORD = "sesame-3141"


def team(folder: Path, **files: str) -> Path:
    """Write a team's project; keywords are files in it, with `__` for dots.

    Args:
        folder: where to.
        files: texts that are different.
    """
    own = {"team_flows.py": FLOWS, "prefect.yaml": DEPLOYMENTS, ".dockerignore": "Dockerfile\n"}
    changed = {name.replace("__", "."): text for name, text in files.items()}
    return TeamProject.written(folder, own | changed).folder


def test_a_project_is_an_image_in_three_lines_and_runs_read_only_as_any_user(base: Image, tmp_path: Path) -> None:
    """With its own requirement and dbt project; the base's layers are shared, and nothing is left in /tmp."""
    with built(team(tmp_path), BAKE) as image:
        printed = image.run("flows", "run", "forecast")
        assert "- `weather`: the weather of Rome is fine" in printed.splitlines()
        assert "partial_parse.msgpack" in image.run("ls", "/project/dbt/target")
        assert image.inspect()["RootFS"]["Layers"][:-2] == base.inspect()["RootFS"]["Layers"]
        added = image.inspect()["Size"] - base.inspect()["Size"]
        assert added < 5_000_000, "it copies what the base has"
        assert docker("run", "--rm", "--network=host", image.name, "find", "/tmp", "/var/tmp", "-mindepth", "1") == ""


def test_packages_are_installed_by_uv_pip_and_apt(tmp_path: Path) -> None:
    """As the image's user and as root; what is installed fits the platform, whose versions stay."""
    dockerfile = """\
RUN uv pip install dbt-trino
RUN pip install --quiet colorful
USER root
RUN apt-get update && apt-get install -y --no-install-recommends jq && rm -rf /var/lib/apt/lists/*
USER 10001
RUN uv pip check"""
    with built(tmp_path, dockerfile) as image:
        look = "jq --version; python -c 'import colorful, dbt.adapters.trino; print(colorful.__name__)'; id -u"
        assert image.run("sh", "-c", look, user=10001) == "jq-1.6\ncolorful\n10001\n"


def test_a_package_that_would_change_the_platform_is_refused(tmp_path: Path) -> None:
    """By uv and by pip, before anything is installed."""
    dockerfile = "RUN ! uv pip install 'pydantic<2' && ! pip install 'pydantic<2' && flows --version"
    with built(tmp_path, dockerfile) as image:
        assert image.run("flows", "--version") == "0.1.0\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"requirements__txt": f"{NO_INDEX}pydantic<2\n"},
            "error: The project's requirements conflict with the platform: they ask for pydantic<2, and it has ",
        ),
        (
            {"requirements__txt": f"{NO_INDEX}flow-of-flows>=99\n"},
            "error: The platform is older than the project requires: flow-of-flows 0.1.0 is installed, and ",
        ),
        (
            {"team_flows__py": "import nolib\n"},
            "error: Deployment forecast does not load: No module named ",
        ),
        (
            {"dbt/models/days__sql": "select * from {{ ref('nobody') }}"},
            "depends on a node named 'nobody' which was not found. Where: /project/dbt.",
        ),
        (
            {"prefect__yaml": DEPLOYMENTS.replace("/project", "/srv/team")},
            "error: The working directory /srv/team does not exist in the image: the project is in /project.",
        ),
    ],
    ids=["conflict", "older base", "entrypoint", "dbt", "working directory"],
)
def test_a_project_that_would_not_run_fails_the_build(files: dict[str, str], said: str, tmp_path: Path) -> None:
    """One sentence in the output of the build, and no image."""
    assert said in refused_build(team(tmp_path, **files), BAKE)


def test_a_project_that_is_copied_as_root_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    """The bake writes into its folder."""
    printed = refused_build(team(tmp_path), "COPY . /project\nRUN flows bake")
    assert "Next: copy the project with `COPY --chown=10001:10001 . /project`." in printed


def test_the_password_of_a_private_index_is_in_no_layer(tmp_path: Path) -> None:
    """Given as a BuildKit secret, as docs/image.md says."""
    folder = team(tmp_path / "project", requirements__txt="weatherlib==1.0\n")
    file = folder / "wheels" / "weatherlib-1.0-py3-none-any.whl"
    wanted = f"Basic {base64.b64encode(f'reader:{PASSWORD}'.encode()).decode()}"

    def respond(request: Request) -> Response:
        if request.headers.get("Authorization", request.headers.get("authorization")) != wanted:
            return Response(401, headers={"www-authenticate": "Basic realm=index"})
        if request.path.endswith(".whl"):
            return Response(200, file.read_bytes())
        link = f'<a href="/files/{file.name}">{file.name}</a>'.encode()
        return Response(200, link, {"content-type": "text/html"}) if "weatherlib" in request.path else Response(404)

    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login reader password {PASSWORD}\n")
    with responding(respond) as index:
        dockerfile = (
            "COPY --chown=10001:10001 prefect.yaml requirements.txt team_flows.py ./\n"
            f"ENV UV_DEFAULT_INDEX={index}/simple\n"
            "RUN --mount=type=secret,id=netrc,uid=10001 NETRC=/run/secrets/netrc flows bake"
        )
        with built(folder, dockerfile, f"--secret=id=netrc,src={netrc}") as image:
            assert "weatherlib" in image.run("uv", "pip", "list")
            assert PASSWORD not in docker("history", "--no-trunc", image.name)
            searched = "grep -rls --exclude-dir=proc --exclude-dir=sys " + PASSWORD + " / || true"
            assert docker("run", "--rm", "--network=host", "--user=0", image.name, "sh", "-c", searched) == ""
