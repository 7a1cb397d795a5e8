"""The dbt child on a project from a git repository: same results as baked, one commit, what later runs reuse."""

from __future__ import annotations

import fcntl
import shutil
from contextlib import closing
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.errors import ConfigurationError, DataError
from tests.commands import flows
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, execute
from tests.fixtures.dbt_commands import copy_project
from tests.fixtures.dbt_projects import Place
from tests.fixtures.git_host import AUTHORIZED, GitHost
from tests.fixtures.raw_tables import SHOP

pytestmark = pytest.mark.usefixtures("git_token")

TABLES = "select table_name from information_schema.tables where table_schema = 'analytics' order by 1"
PACKAGES = "packages:\n  - git: https://packages.invalid/money.git\n    revision: v1\n"


def answer(place: Place) -> list[tuple[object, ...]]:
    """What the model `first` has."""
    return execute(place.warehouse, "select id from analytics.first")


def rows(place: Place) -> dict[str, list[tuple[object, ...]]]:
    """Rows of everything that dbt made."""
    with closing(duckdb.connect(place.warehouse, read_only=True)) as connection:
        for file in place.warehouse.parent.glob("*.duckdb"):
            if file != place.warehouse:
                connection.execute(f"attach '{file}' as {file.stem} (read_only)")
        names = [name for (name,) in connection.execute(TABLES).fetchall()]
        return {name: connection.execute(f"select * from analytics.{name} order by all").fetchall() for name in names}


def left(place: Place) -> list[str]:
    """What is on disk after a run, besides warehouse and state store."""
    return sorted(str(path.relative_to(place.home)) for path in place.home.glob("[!ws]*/**/*") if path.is_file())


def test_a_branch_is_built_and_its_commit_is_reported(place: Place, git_host: GitHost) -> None:
    """The default branch, with the token given when the host asked; nothing is left on disk but the parse."""
    commit = git_host.serve(place.use())
    shutil.rmtree(place.home / "dbt", ignore_errors=True)

    report = build(repository=git_host.url())

    assert report.summary == f"5 dbt nodes: 1 pass, 4 success (commit {commit[:12]})"
    assert (report.facts["repository"], report.facts["commit"]) == (git_host.url(), commit)
    assert execute(place.warehouse, "select id from analytics.third") == [(3,)]
    assert [Path(name).name for name in left(place)] == ["partial_parse.msgpack"]
    assert {asked.authorization for asked in git_host.asked} == {None, AUTHORIZED}


def test_a_public_repository_needs_no_secret(
    place: Place, git_host: GitHost, git_token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the host does not ask, no secret is looked for; also another path of the same host is gone to."""
    git_token.unlink()
    git_host.token = False
    git_host.redirect = (git_host.url("moved.git"), git_host.url())
    commit = git_host.serve(place.use())
    monkeypatch.setenv("FLOWS_REPOSITORY_URL", git_host.url("moved.git"))

    assert build().facts["commit"] == commit
    assert {asked.authorization for asked in git_host.asked} == {None}


def test_refs_are_branches_tags_and_commits(place: Place, git_host: GitHost) -> None:
    """Each builds what it stands for; a branch goes before a tag of its name; parameters before settings."""
    commits = [
        git_host.serve(place.use({"models/first.sql": f"select {number} as id"}), branch=branch, tag=tag)
        for number, branch, tag in ((1, "main", "v1"), (2, "main", None), (3, "feature/x", None), (4, "v1", None))
    ]
    for ref, number in (
        ("main", 2),
        ("feature/x", 3),
        ("v1", 4),
        ("refs/tags/v1", 1),
        (commits[0], 1),
        (commits[2], 3),
    ):
        report = build(repository=git_host.url(), ref=ref)
        assert report.facts["commit"] == commits[number - 1], ref
        assert answer(place) == [(number,)], ref


def test_settings_are_the_defaults_of_an_environment(
    place: Place, git_host: GitHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Production follows a branch without a parameter: a new commit on it is what the next run builds."""
    tree = tmp_path / "tree"
    for name, value in {"URL": git_host.url(), "REF": "production", "SUBFOLDER": "teams/dbt"}.items():
        monkeypatch.setenv(f"FLOWS_REPOSITORY_{name}", value)
    for number in (1, 2):
        dbt_projects.write(tree / "teams" / "dbt", {"models/first.sql": f"select {number} as id"})
        commit = git_host.serve(tree, branch="production")
        report = build()
        assert report.facts["repository"] == f"{git_host.url()}, folder teams/dbt"
        assert (report.facts["commit"], answer(place)) == (commit, [(number,)])


def test_the_same_results_as_baked(
    place: Place, git_host: GitHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The project of this image, from a repository: every table and view has the rows of the baked build."""
    project = copy_project(tmp_path / "baked")
    monkeypatch.setenv("FLOWS_DBT_PROJECT", str(project))
    SHOP.write_duckdb(place.home / "warehouse")
    commit = git_host.serve(project)
    baked = build()
    expected = rows(place)
    place.warehouse.unlink()

    report = build(repository=git_host.url())

    assert rows(place) == expected
    assert len(expected) > 8
    assert report.facts["commit"] == commit
    numbers = ("nodes", "models", "tests", "rows", "sources")
    assert {name: report.facts.get(name) for name in numbers} == {name: baked.facts.get(name) for name in numbers}


def test_a_failure_names_the_commit_and_a_retry_goes_on_there(place: Place, git_host: GitHost) -> None:
    """Of a new commit, what the change touches is built with what was left."""
    broken = {**dbt_projects.CHAIN, "models/second.sql": "select * from {{ target.schema }}.needed"}
    commit = git_host.serve(place.use(broken))
    with pytest.raises(DataError) as failure:
        build(repository=git_host.url())
    assert failure.value.location == f"{git_host.url()} at {commit}"
    run = UUID(place.saved_run)
    execute(place.warehouse, "create table analytics.needed as select 2 as id")

    assert build(repository=git_host.url(), retry_of=run).summary == (
        f"2 dbt nodes: 2 success; resumed after 3 nodes were done already (commit {commit[:12]})"
    )

    execute(place.warehouse, "drop table analytics.needed")
    with pytest.raises(DataError):
        build(repository=git_host.url())
    (again,) = set(place.saved_runs) - {str(run)}
    commit = git_host.serve(place.use())
    report = build(repository=git_host.url(), retry_of=UUID(again))
    assert report.warnings == ()
    assert report.summary == (f"2 dbt nodes: 2 success; resumed after 3 nodes were done already (commit {commit[:12]})")


def test_a_later_pod_takes_the_parse_of_an_earlier_one(
    place: Place, git_host: GitHost, caplog: pytest.LogCaptureFixture
) -> None:
    """It parses nothing, so dbt writes no parse; a damaged one is reported and replaced."""
    git_host.serve(place.use())
    build(repository=git_host.url())
    (kept,) = (place.home / "state" / "parses").glob("*/partial_parse.msgpack.gz")
    whole = kept.read_bytes()

    def another_pod() -> tuple[tuple[str, ...], list[str]]:
        shutil.rmtree(place.home / "dbt")
        return build(repository=git_host.url()).warnings, left(place)

    with caplog.at_level("INFO", logger="flow_of_flows"):
        assert another_pod() == ((), [])
    assert "The project's parse is that of an earlier run" in caplog.text
    assert answer(place) == [(1,)]

    kept.write_bytes(whole[:-100])
    warnings, files = another_pod()
    key = kept.relative_to(place.home / "state")
    assert warnings == (f"The parse under {key} in {place.home / 'state'} is damaged, so the project is parsed anew",)
    assert len(files) == 1
    assert another_pod() == ((), [])

    build(repository=git_host.url(), vars={"other": 1})
    assert len(list((place.home / "state" / "parses").iterdir())) == 2


def test_a_new_commit_is_parsed_where_it_differs(place: Place, git_host: GitHost) -> None:
    """From the parse of the commit before; seeds are those of the new checkout."""
    seed = {"seeds/numbers.csv": "id\n7\n", "models/first.sql": "select id from {{ ref('numbers') }}"}
    git_host.serve(place.use(dbt_projects.CHAIN | seed))
    build(repository=git_host.url())
    (kept,) = (place.home / "state" / "parses").glob("*/partial_parse.msgpack.gz")
    shutil.rmtree(place.home / "dbt")

    git_host.serve(place.use(dbt_projects.CHAIN | seed | {"models/fourth.sql": "select 4 as id"}))
    before = kept.read_bytes()
    report = build(repository=git_host.url())

    assert (report.warnings, report.facts["nodes"]) == ((), 7)
    assert answer(place) == [(7,)]
    assert list((place.home / "state" / "parses").glob("*/*")) == [kept]
    assert kept.read_bytes() != before


def test_a_private_package_of_the_host_gets_the_token(place: Place, git_host: GitHost) -> None:
    """The git that dbt starts asks for it; a host that is not the repository's gets none."""
    package = place.folder / "money"
    for name, text in {
        "dbt_project.yml": 'name: money\nversion: "1.0"\nconfig-version: 2\n',
        "macros/one.sql": "{% macro one() %}1{% endmacro %}",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    revision = git_host.serve(package, "money.git")
    packages = f"packages:\n  - git: {git_host.url('money.git')}\n    revision: {revision}\n"
    model = {"models/first.sql": "select {{ money.one() }} as id"}
    git_host.serve(place.use({"packages.yml": packages, **model}))

    build(repository=git_host.url())

    assert answer(place) == [(1,)]
    assert AUTHORIZED in {asked.authorization for asked in git_host.asked if asked.path.startswith("/money.git")}

    elsewhere = packages.replace("localhost", "127.0.0.1")
    git_host.serve(place.use({"packages.yml": elsewhere, **model}))
    git_host.asked.clear()
    with pytest.raises(ConfigurationError) as failure:
        build(repository=git_host.url())
    assert failure.value.message == (
        f"A package is private, and the token is not for its host, 127.0.0.1:{git_host.port}"
    )
    assert {asked.authorization for asked in git_host.asked if asked.host.startswith("127.0.0.1")} == {None}


def test_a_seed_that_is_a_pointer_of_git_lfs_is_refused(place: Place, git_host: GitHost) -> None:
    """Its rows would be the lines of the pointer."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    commit = git_host.serve(place.use(dbt_projects.CHAIN | {"seeds/numbers.csv": pointer}))
    with pytest.raises(ConfigurationError) as failure:
        build(repository=git_host.url())
    assert failure.value.message == "seeds/numbers.csv: a pointer of Git LFS, not the rows; the content is not fetched"
    assert failure.value.location == f"{git_host.url()} at {commit}"
    assert not place.warehouse.exists()


def test_packages_are_fetched_once(
    place: Place, git_host: GitHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a lock file or a commit names is taken from the state store, from then on; a damaged one is fetched anew."""
    installed = _packages_come_from(monkeypatch)
    files = {"packages.yml": PACKAGES, "models/first.sql": "select {{ money.one() }} as id"}
    git_host.serve(place.use(files))
    build(repository=git_host.url())
    assert (installed, answer(place)) == (["deps"], [(1,)])

    with caplog.at_level("INFO", logger="flow_of_flows"):
        build(repository=git_host.url())
    assert (installed, answer(place)) == (["deps"], [(1,)])
    assert "The project's packages are those of an earlier run" in caplog.text

    (kept,) = (place.home / "state" / "packages").glob("*/dbt_packages.tar.gz")
    kept.write_bytes(kept.read_bytes()[:-100])
    (warning,) = build(repository=git_host.url()).warnings
    assert warning.endswith("are damaged, so they are installed anew")
    assert installed == ["deps", "deps"]

    # Without a lock file another commit may mean other packages; with one it says which.
    for lock, expected in (("", 3), ("packages: []\n", 4), ("packages: []\n", 4)):
        more = {"models/again.sql": f"select {len(installed)} as id", "package-lock.yml": lock}
        git_host.serve(place.use(files | {name: text for name, text in more.items() if text}))
        build(repository=git_host.url())
        assert len(installed) == expected


def _packages_come_from(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for the hosts of packages: `dbt deps` as it is, with the package already there; its calls."""
    calls: list[str] = []

    def install(session: DbtSession, _options: object) -> None:
        if not session.project.lacks_packages:
            return
        calls.append("deps")
        package = session.project.packages / "money"
        (package / "macros").mkdir(parents=True)
        (package / "dbt_project.yml").write_text('name: money\nversion: "1.0"\nconfig-version: 2\n')
        (package / "macros" / "one.sql").write_text("{% macro one() %}1{% endmacro %}")

    monkeypatch.setattr(DbtSession, "install_packages", install)
    return calls


def test_what_a_repository_could_run_does_not_run(place: Place, git_host: GitHost, tmp_path: Path) -> None:
    """Hooks, filters and submodules stay what they are: files."""
    tree = place.use()
    witness = tmp_path / "witness"
    (tree / ".gitattributes").write_text("*.sql filter=lfs\n")
    (tree / ".gitmodules").write_text(f'[submodule "x"]\n  path = x\n  url = {git_host.url("another.git")}\n')
    (tree / ".lfsconfig").write_text(f'[filter "lfs"]\n  smudge = touch {witness}\n')
    git_host.serve(tree)

    build(repository=git_host.url())

    assert not witness.exists()
    assert {asked.path.split("/")[1] for asked in git_host.asked} == {"project.git"}


def test_leftovers_are_swept_and_never_used(place: Place, git_host: GitHost) -> None:
    """The folder of a run that was killed goes with the next run; the folder of one that runs stays."""
    git_host.serve(place.use())
    folders = [place.home / "repositories" / name for name in ("run-dead", "run-alive")]
    for folder in folders:
        (folder / "tree").mkdir(parents=True)
        (folder / "lock").touch()
    with (folders[1] / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(repository=git_host.url())
        assert [folder.exists() for folder in folders] == [False, True]


@pytest.mark.usefixtures("git_token")
def test_doctor_asks_the_host_for_the_ref(git_host: GitHost, tmp_path: Path) -> None:
    """With the token, and without fetching anything; a ref that does not exist is wrong."""
    commit = git_host.serve(dbt_projects.write(tmp_path / "project"), branch="production")
    variables = {"FLOWS_REPOSITORY_URL": git_host.url(), "COLUMNS": "400"}

    def found(**more: str) -> tuple[int, str]:
        ended = flows("doctor", **(variables | more))
        return ended.code, ended.out.partition(" repository ")[2].partition(" dbt Cloud ")[0]

    code, text = found(FLOWS_REPOSITORY_REF="production")
    assert (code, text.split()) == (0, [git_host.url(), "at", "production:", "commit", commit[:12], "ok"])
    code, text = found(FLOWS_REPOSITORY_REF="nowhere")
    assert code == 2
    assert f"The repository has no branch or tag 'nowhere'. Where: {git_host.url()}." in text
    assert "→ correct `ref`" in text
