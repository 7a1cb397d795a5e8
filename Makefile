# Few verbs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Byte code halves the start of every process; some machines turn it off.
unexport PYTHONDONTWRITEBYTECODE
# An environment of another project must not leak in.
unexport VIRTUAL_ENV

PYTHON ?= python3
UV ?= $(shell command -v uv || echo build/uv/bin/uv)
RUN := .venv/bin
# helm may come from the machine or from `make helm`.
export PATH := $(CURDIR)/build/bin:$(PATH)

include docker/image.mk

.PHONY: help
help: ## List the verbs.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/locked ## Run the jaffle-shop pipeline here, without a network.
	FLOWS_RATES_SOURCE=snapshot FLOWS_CURRENCIES_SOURCE=snapshot $(RUN)/flows run jaffle-shop --local

.PHONY: production
production: .venv/locked ## Run daily and weekly here as production does, against stand-ins of AWS, Airbyte and PagerDuty.
	$(RUN)/python -m tests.production

.PHONY: ui
ui: .venv/locked ## Keep the embedded Prefect server up and look at past runs.
	FLOWS_RATES_SOURCE=snapshot FLOWS_CURRENCIES_SOURCE=snapshot $(RUN)/flows ui

.PHONY: test
test: lint helm ## Lint, then run every test.
	$(RUN)/pytest -n 2 --dist loadscope

# Apart from `make test`: on Python 3.11 a process whose lines are traced takes 1.6 times the CPU, commands and dbt included.
.PHONY: coverage
coverage: .venv/locked helm ## Run every test and print how much of the code they reach (at least 90 %).
	rm -f .coverage .coverage.*
	$(RUN)/pytest -n 2 --dist loadscope --cov --cov-report=term

# Adapters of dbt that the platform does not carry, in a folder of their own on top of the environment.
build/adapters/installed build/spark/installed: build/%/installed:
	rm -rf $(@D)
	$(RUN)/uv pip install --quiet --no-deps --no-compile-bytecode --require-hashes --python $(RUN)/python --target $(@D) --requirement $<
	@touch $@
build/adapters/installed: tests/adapters/requirements.txt
build/spark/installed: tests/adapters/spark.txt

.PHONY: adapters
adapters: .venv/locked build/adapters/installed build/spark/installed ## Build with adapters that the platform does not carry, Spark included.
	PYTHONPATH=build/adapters:build/spark $(RUN)/pytest -n 0 tests/adapters

.PHONY: lint
lint: .venv/locked build/bin/actionlint ## Check style, types, SQL, workflows and the lock file.
	$(UV) lock --check --quiet
	$(UV) export $(PROJECT_REQUIREMENTS) | diff requirements.txt -
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache
	$(RUN)/hadolint Dockerfile tests/e2e/next_platform/Dockerfile tests/e2e/postgres/Dockerfile tests/e2e/standins/Dockerfile tests/benchmarks/pods/Dockerfile \
		tests/faults/pods/Dockerfile
	$(RUN)/sqlfmt --check --quiet docker/dbt/models docker/dbt/macros docker/dbt/packages
	build/bin/actionlint -shellcheck $(RUN)/shellcheck
	$(RUN)/zizmor --offline --quiet --no-progress .github

# What this repository's project needs besides the platform, with hashes, for the image.
PROJECT_REQUIREMENTS := --quiet --locked --no-header --only-group project
.PHONY: requirements.txt
requirements.txt:
	$(UV) export $(PROJECT_REQUIREMENTS) --output-file $@

build/bin/actionlint:
	GOBIN="$(CURDIR)/build/bin" go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: format
format: .venv/locked ## Format Python and SQL.
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .
	$(RUN)/sqlfmt --quiet docker/dbt/models docker/dbt/macros docker/dbt/packages

.PHONY: e2e
e2e: .venv/locked ## Install, run, upgrade and remove the chart on the cluster that KUBECONFIG points at.
	$(RUN)/pytest -n 0 tests/e2e

.PHONY: bench-images
bench-images:
	$(DOCKER) build --network host --quiet --build-arg IMAGE=$(IMAGE) --tag $(IMAGE)-bench tests/benchmarks/pods

# The second tag of the upgrade test, the Postgres that the tests load into, the stand-ins of other systems, and a team's
# project on the platform and on the one of the next version.
.PHONY: e2e-images
e2e-images: .venv/locked
	$(DOCKER) tag $(IMAGE) $(IMAGE)-next
	$(DOCKER) build --network host --quiet --tag flow-of-flows-e2e-postgres:15 tests/e2e/postgres
	rm -rf build/standins && mkdir -p build/standins
	git ls-files -z tests | xargs -0 cp --parents -t build/standins
	$(UV) export --quiet --locked --only-group standins --no-hashes -o build/standins/requirements.txt
	$(DOCKER) build --network host --quiet --build-arg IMAGE=$(IMAGE) --tag flow-of-flows-e2e-standins:1 \
		--file tests/e2e/standins/Dockerfile build/standins
	rm -rf build/team && PATH="$(dir $(UV)):$$PATH" $(RUN)/python -m tests.e2e.team build/team
	$(DOCKER) build --network host --quiet --build-arg PLATFORM=$(IMAGE)-base --tag acme-data:1 build/team/acme-data
	$(DOCKER) build --network host --quiet --build-arg PLATFORM=$(IMAGE)-base --tag $(IMAGE)-base-next \
		--file tests/e2e/next_platform/Dockerfile build/team/platform
	$(DOCKER) build --network host --quiet --build-arg PLATFORM=$(IMAGE)-base-next --tag acme-data:2 build/team/acme-data

.PHONY: faults-image
faults-image:
	$(DOCKER) build --network host --quiet --build-arg IMAGE=$(IMAGE) --tag $(IMAGE)-faults tests/faults/pods

.PHONY: faults
faults: .venv/locked ## Break things on that cluster and see that every run ends as promised (FAULTS=fast REPEAT=3).
	$(RUN)/python -m tests.faults --faults "$(or $(FAULTS),all)" --repeat "$(or $(REPEAT),1)"

.PHONY: load
load: .venv/locked ## 200 children of one parent, and 20 parents at once, on that cluster.
	$(RUN)/python -m tests.faults.load

.PHONY: bench-cluster
bench-cluster: .venv/locked ## Measure pods on that cluster against bare Jobs of the same image.
	$(RUN)/python -m tests.benchmarks.cluster

# The chart's tests render it; a machine without helm gets one of its own. A helm that is built without being told its
# Kubernetes version says v1.20, which the chart's kubeVersion refuses; 1.34 is that of this helm's own client-go.
HELM_PACKAGE := helm.sh/helm/v3
HELM_KUBERNETES := $(foreach where,chartutil lint/rules,-X $(HELM_PACKAGE)/pkg/$(where).k8sVersionMajor=1 \
	-X $(HELM_PACKAGE)/pkg/$(where).k8sVersionMinor=34)
.PHONY: helm
helm:
	@command -v helm >/dev/null || GOBIN="$(CURDIR)/build/bin" \
		go install -ldflags '$(HELM_KUBERNETES)' $(HELM_PACKAGE)/cmd/helm@v3.19.5

.PHONY: bench
bench: .venv/locked ## Measure: the dbt step, and the whole demo against a bare script.
	$(UV) sync --locked --quiet --group bench
	$(RUN)/python -m tests.benchmarks.dbt_step
	$(RUN)/python -m tests.benchmarks.demo

.PHONY: clean
clean: ## Remove what runs and builds left behind, and the environment.
	rm -rf .flows .venv build .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.*

# The project's own environment, as the lock file says. uv itself comes from the machine or from the package index.
.venv/locked: pyproject.toml uv.lock
	@command -v "$(UV)" >/dev/null || { $(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet 'uv>=0.9'; }
	$(UV) sync --locked --quiet
	@touch $@
