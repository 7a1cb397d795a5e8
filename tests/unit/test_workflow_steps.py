"""The scripts of the workflows, run by bash with stand-ins for helm, kubectl, aws, cosign and dbt."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import REPOSITORY
from tests.workflow_step import Done, Job

IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/flow-of-flows"
DIGEST = f"sha256:{'a' * 64}"
LIST = "helm list --namespace flows --deployed --filter ^flows$ --no-headers"
UPGRADE = (
    "helm upgrade --install flows helm --namespace flows --values helm/values-eks.yaml --values - "
    f"--set image.repository={IMAGE} --set image.digest={DIGEST} --set environment=production "
    "--atomic --wait --timeout 10m --history-max 10"
)
SMOKE = "helm test flows --namespace flows --timeout 6m"
LOGS = "kubectl --namespace flows logs pod/flows-flow-of-flows-smoke --tail 100"
# As helm prints it: tabs, and a time with spaces behind the revision.
DEPLOYED = r"printf 'flows\tflows    \t3       \t2026-11-20 09:10:11 +0000 UTC\tdeployed\tflow-of-flows-0.1.0\t0.1.0\n'"
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
KEY = "artifacts/manifest.json"
STATE_URI = f"s3://your-org-dbt-artifacts/{KEY}"


@dataclass(frozen=True)
class Deployment:
    """What a deployment called, and the steps that ran."""

    calls: list[str]
    steps: dict[str, Done]

    @property
    def failed(self) -> bool:
        """Whether the job fails: no step of it may fail and be passed over."""
        return any(step.status for step in self.steps.values())


def deploy(temp: Path, answers: Mapping[str, str], values: str = "worker: {replicas: 3}") -> Deployment:
    """Run the steps from the upgrade on, by their conditions."""
    context = {
        "vars.HELM_VALUES": values,
        "inputs.image": IMAGE,
        "inputs.digest": DIGEST,
        "inputs.environment": "production",
    }
    job = Job("deploy", "deploy", temp, context, answers)
    steps = {"Upgrade": job.run("Upgrade")}
    if steps["Upgrade"].status == 0:
        steps["Smoke run"] = job.run("Smoke run")
        if steps["Smoke run"].status:
            before = {"steps.upgrade.outputs.before": steps["Upgrade"].outputs["before"]}
            steps["Roll back"] = Job("deploy", "deploy", temp, {**context, **before}, answers).run("Roll back")
    return Deployment(job.calls, steps)


def test_a_good_deployment_upgrades_and_tests(tmp_path: Path) -> None:
    """The environment's values come last but for the image."""
    done = deploy(tmp_path, {"helm list": DEPLOYED, "helm upgrade": 'cat > "$RUNNER_TEMP/values"'})
    assert done.calls == [LIST, UPGRADE, SMOKE]
    assert (tmp_path / "values").read_text() == "worker: {replicas: 3}\n"
    assert not done.failed


def test_a_failing_smoke_run_goes_back_to_the_revision_before(tmp_path: Path) -> None:
    """With the log of the smoke run's pod, and a job that fails."""
    done = deploy(tmp_path, {"helm list": DEPLOYED, "helm test": "exit 1"})
    assert done.calls == [LIST, UPGRADE, SMOKE, LOGS, "helm rollback flows 3 --namespace flows --wait --timeout 10m"]
    assert done.failed
    assert done.steps["Smoke run"].errors == ["The smoke run failed."]
    assert done.steps["Roll back"].errors == ["Rolled back to revision 3."]


def test_a_failing_smoke_run_of_a_first_install_uninstalls(tmp_path: Path) -> None:
    """There is no revision to go back to. That the log cannot be read changes nothing."""
    done = deploy(tmp_path, {"helm test": "exit 1", "kubectl --namespace": "exit 1"})
    assert done.calls == [LIST, UPGRADE, SMOKE, LOGS, "helm uninstall flows --namespace flows --wait --timeout 10m"]
    assert done.failed
    assert done.steps["Smoke run"].errors == ["The smoke run failed."]
    assert done.steps["Roll back"].errors == ["Uninstalled: there was no revision to go back to."]


def test_a_failing_upgrade_ends_there(tmp_path: Path) -> None:
    """`--atomic` has gone back already."""
    done = deploy(tmp_path, {"helm list": DEPLOYED, "helm upgrade": "exit 1"})
    assert done.calls == [LIST, UPGRADE]
    assert done.failed


def test_a_cluster_that_does_not_answer_is_left_alone(tmp_path: Path) -> None:
    """What was deployed before has to be known before anything is changed."""
    done = deploy(tmp_path, {"helm list": "exit 1"})
    assert done.calls == [LIST]
    assert done.failed


def test_an_environment_without_values_is_refused(tmp_path: Path) -> None:
    """The chart's values for EKS name hosts and roles that do not exist."""
    done = deploy(tmp_path, {}, values="")
    assert done.calls == []
    assert done.steps["Upgrade"].errors == [
        "The variable HELM_VALUES of the environment is empty: helm/values-eks.yaml alone has examples."
    ]


def test_a_smoke_run_that_was_cut_short_is_rolled_back_too(tmp_path: Path) -> None:
    """`deploy` above stands for these conditions; the steps before have none."""
    job = Job("deploy", "deploy", tmp_path, {})
    condition = "always() && steps.upgrade.outcome == 'success' && steps.smoke.outcome != 'success'"
    assert job.step("Roll back")["if"] == condition
    assert (job.step("Upgrade")["id"], job.step("Smoke run")["id"]) == ("upgrade", "smoke")
    assert not {"if", "continue-on-error"} & {*job.step("Upgrade"), *job.step("Smoke run")}


@pytest.mark.parametrize("status", [0, 1])
def test_only_an_image_that_this_release_signed_is_deployed(tmp_path: Path, status: int) -> None:
    """Signed by the release workflow of this repository, run for this tag."""
    context = {"inputs.image": IMAGE, "inputs.digest": DIGEST}
    job = Job("deploy", "deploy", tmp_path, context, {"cosign verify": f"exit {status}"})
    release = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "your-org/flow-of-flows",
        "GITHUB_REF": "refs/tags/v0.1.0",
    }
    assert job.run("Verify the signature", release).status == status
    signer = "https://github.com/your-org/flow-of-flows/.github/workflows/release.yml@refs/tags/v0.1.0"
    issuer = "https://token.actions.githubusercontent.com"
    flags = f"--certificate-oidc-issuer {issuer} --certificate-identity {signer}"
    assert job.calls == [f"cosign verify {IMAGE}@{DIGEST} {flags}"]


def test_the_image_is_signed_by_its_digest(tmp_path: Path) -> None:
    """A tag could name another image by then."""
    job = Job(
        "release",
        "image",
        tmp_path,
        {"steps.name.outputs.image": IMAGE, "steps.build.outputs.digest": DIGEST},
    )
    assert job.run("Sign").status == 0
    assert job.calls == [f"cosign sign --yes {IMAGE}@{DIGEST}"]


@pytest.mark.parametrize(
    ("kind", "ref", "tag"), [("tag", f"v{VERSION}", VERSION), ("branch", "main", f"{VERSION}-0123456789ab")]
)
def test_the_image_is_named_after_the_version(tmp_path: Path, kind: str, ref: str, tag: str) -> None:
    """A release that was started by hand carries its commit, too."""
    registry = IMAGE.partition("/")[0]
    job = Job("release", "image", tmp_path, {"steps.ecr.outputs.registry": registry})
    started = {"GITHUB_REF_TYPE": kind, "GITHUB_REF_NAME": ref, "GITHUB_SHA": "0123456789abcdef" * 2 + "01234567"}
    assert job.run("Name the image", started).outputs == {"image": IMAGE, "tag": tag}


def test_a_tag_of_another_version_is_refused(tmp_path: Path) -> None:
    """The chart's default image would be another one."""
    done = Job("release", "image", tmp_path, {}).run(
        "Name the image", {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v9.9.9", "GITHUB_SHA": "0" * 40}
    )
    assert done.status == 1
    assert done.errors == [f"The tag is v9.9.9, and the version in pyproject.toml is {VERSION}."]


def versions(temp: Path, *, chart: str = VERSION, changelog: str = f"## [{VERSION}] - 2026-12-01\n\nNew.\n") -> Job:
    """A job of the release in a checkout whose chart and changelog say this."""
    checkout = temp / "checkout"
    (checkout / "helm").mkdir(parents=True)
    (checkout / "pyproject.toml").write_text(f'[project]\nversion = "{VERSION}"\n')
    (checkout / "helm/Chart.yaml").write_text(f'version: {chart}\nappVersion: "{VERSION}"\n')
    (checkout / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\nLater.\n\n{changelog}\n## [0.0.1]\n\nOld.\n"
    )
    return Job("release", "platform", temp, {}, checkout=checkout)


def test_a_release_takes_its_notes_from_the_changelog(tmp_path: Path) -> None:
    """What stands below the heading of its version, and nothing of the others."""
    done = versions(tmp_path).run("Check the version", {"GITHUB_REF_NAME": f"v{VERSION}"})
    assert (done.status, done.outputs) == (0, {"version": VERSION})
    assert (tmp_path / "notes.md").read_text().strip() == "New."


def test_a_release_has_one_version_everywhere(tmp_path: Path) -> None:
    """Tag, package, chart and the chart's image; and the changelog says something of it."""
    done = versions(tmp_path / "tag").run("Check the version", {"GITHUB_REF_NAME": "v9.9.9"})
    assert done.errors == [f"The version in pyproject.toml is {VERSION}, and that of the tag 9.9.9."]
    done = versions(tmp_path / "chart", chart="9.9.9").run("Check the version", {"GITHUB_REF_NAME": f"v{VERSION}"})
    assert done.errors == [f"The version in pyproject.toml is {VERSION}, and that of the chart 9.9.9."]
    done = versions(tmp_path / "log", changelog="").run("Check the version", {"GITHUB_REF_NAME": f"v{VERSION}"})
    form = f"Give its heading the form: ## [{VERSION}] - YYYY-MM-DD"
    assert done.errors == [f"CHANGELOG.md says nothing of {VERSION}. {form}"]


def test_the_parts_of_a_release_are_named_after_the_owner_and_the_registry(tmp_path: Path) -> None:
    """Charts apart from images; GitHub's registry takes no capital letters."""
    job = Job("release", "platform", tmp_path, {"steps.ecr.outputs.registry": "r.example.com"})
    assert job.run("Name them", {"GITHUB_REPOSITORY_OWNER": "Your-Org"}).outputs == {
        "ghcr": "ghcr.io/your-org/flow-of-flows",
        "ecr": "r.example.com/flow-of-flows",
        "charts": "oci://ghcr.io/your-org/charts oci://r.example.com/charts",
    }


def test_the_chart_is_pushed_to_both_registries_and_signed_by_its_digest(tmp_path: Path) -> None:
    """As helm prints it when it has pushed."""
    charts = "oci://ghcr.io/your-org/charts oci://r.example.com/charts"
    context = {"steps.version.outputs.version": VERSION, "steps.name.outputs.charts": charts}
    answers = {"helm push": f"echo 'Pushed: x'; echo 'Digest: {DIGEST}' >&2"}
    job = Job("release", "platform", tmp_path, context, answers)
    assert job.run("Publish the chart").status == 0
    archive = f"dist/flow-of-flows-{VERSION}.tgz"
    assert job.calls == [
        "helm package helm --destination dist",
        f"helm push {archive} oci://ghcr.io/your-org/charts",
        f"cosign sign --yes ghcr.io/your-org/charts/flow-of-flows@{DIGEST}",
        f"helm push {archive} oci://r.example.com/charts",
        f"cosign sign --yes r.example.com/charts/flow-of-flows@{DIGEST}",
    ]


def test_the_base_image_is_signed_in_both_registries(tmp_path: Path) -> None:
    """By its digest, which is the same in both."""
    names = {"steps.name.outputs.ghcr": "ghcr.io/your-org/flow-of-flows", "steps.name.outputs.ecr": IMAGE}
    job = Job("release", "platform", tmp_path, {**names, "steps.base.outputs.digest": DIGEST})
    assert job.run("Sign the base image").status == 0
    assert job.calls == [f"cosign sign --yes ghcr.io/your-org/flow-of-flows@{DIGEST} {IMAGE}@{DIGEST}"]


def test_the_release_on_github_comes_last(tmp_path: Path) -> None:
    """With the wheel and the chart; whoever sees it finds the rest published."""
    job = Job("release", "platform", tmp_path, {"steps.version.outputs.version": VERSION}, checkout=tmp_path)
    assert job.run("Release", {"GITHUB_REPOSITORY": "your-org/flow-of-flows"}).status == 0
    what = f"v{VERSION} --repo your-org/flow-of-flows --verify-tag --title {VERSION}"
    files = f"dist/*.whl dist/flow-of-flows-{VERSION}.tgz"
    assert job.calls == [f"gh release create {what} --notes-file {tmp_path}/notes.md {files}"]
    assert job.last_step == "Release"


def refused(code: str) -> str:
    """What the AWS CLI does when S3 answers with this code."""
    return f"echo 'An error occurred ({code}) when calling the GetObject operation: …' >&2; exit 254"


def fetch(temp: Path, answer: str) -> tuple[Job, Done]:
    """Fetch the manifest from an S3 that answers so."""
    job = Job("checks", "dbt-slim", temp, {"vars.DBT_STATE_URI": STATE_URI}, {"aws s3api": answer})
    return job, job.run("Fetch the production manifest")


def test_a_manifest_that_is_there_makes_the_build_slim(tmp_path: Path) -> None:
    """It is where dbt looks for it."""
    job, done = fetch(tmp_path, 'echo {} > "${@: -1}"')
    assert done.outputs == {"found": "true"}
    assert job.calls == [
        f"aws s3api get-object --bucket your-org-dbt-artifacts --key {KEY} {tmp_path}/state/manifest.json"
    ]
    assert (tmp_path / "state" / "manifest.json").read_text() == "{}\n"


def test_a_bucket_without_a_manifest_makes_it_a_full_build(tmp_path: Path) -> None:
    """The first time, and it says so."""
    _, done = fetch(tmp_path, refused("NoSuchKey"))
    assert (done.status, done.outputs) == (0, {"found": "false"})
    notice = f"::notice::There is no manifest at {STATE_URI} yet: everything is built into a DuckDB file.\n"
    assert done.printed == notice


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "ExpiredToken"])
def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path: Path, code: str) -> None:
    """A full build would pass, and nobody would see that the slim one is broken."""
    _, done = fetch(tmp_path, refused(code))
    assert (done.status, done.outputs) == (1, {})
    needs = "s3:GetObject on it, and s3:ListBucket on the bucket to tell a missing manifest from a forbidden one"
    sentence = f"The manifest at {STATE_URI} could not be read, see above. The role AWS_CI_ROLE_ARN needs {needs}."
    assert done.errors == [sentence]


def test_a_build_is_slim_or_full(tmp_path: Path) -> None:
    """Never both, and none after a manifest that could not be read: a condition without `always()` implies success."""
    job = Job("checks", "dbt-slim", tmp_path, {})
    assert job.step("Build what changed")["if"] == "steps.manifest.outputs.found == 'true'"
    assert job.step("Build everything")["if"] == "steps.manifest.outputs.found != 'true'"


@pytest.mark.parametrize("status", [0, 1])
def test_a_slim_build_has_a_schema_of_its_own_that_goes_afterwards(tmp_path: Path, status: int) -> None:
    """After a build that failed, too, and the job still fails."""
    context = {"github.event.number": "7", "vars.DBT_TARGET": "postgres"}
    job = Job("checks", "dbt-slim", tmp_path, context, {"dbt build": f'test "$DBT_SCHEMA" = ci_pr_7; exit {status}'})
    assert job.run("Build what changed").status == status
    assert job.calls == [
        "dbt deps",
        f"dbt build --select state:modified+ --defer --state {tmp_path}/state",
        "dbt run-operation run_query --args {sql: 'begin; drop schema if exists ci_pr_7 cascade; commit'}",
    ]


def test_a_schema_that_stays_is_a_warning(tmp_path: Path) -> None:
    """It says nothing about the change."""
    job = Job("checks", "dbt-slim", tmp_path, {"github.event.number": "7"}, {"dbt run-operation": "exit 1"})
    done = job.run("Build what changed")
    assert (done.status, done.printed) == (0, "::warning::The schema ci_pr_7 could not be dropped.\n")


def test_a_full_build_loads_the_sample_and_builds_all_of_it(tmp_path: Path) -> None:
    """Without a network, into DuckDB."""
    job = Job("checks", "dbt-slim", tmp_path, {})
    assert job.run("Build everything").status == 0
    assert job.calls == [
        "flows run jaffle-shop --local --only staging --only exchange-rates --only currencies",
        "dbt deps",
        "dbt build",
    ]
