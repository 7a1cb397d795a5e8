# One image: job pod, worker, embedded server, registration.
#
#   docker build -t flow-of-flows:0.1.0 .
#   docker build --build-arg DBT_PROJECT=teams/finance/dbt --build-arg EXTRAS="snowflake ingest serve kubernetes" .
#
# Any builder with BuildKit does; no syntax is used that would fetch a frontend.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG UV_VERSION=0.13.9

# The locked packages, then the project; each layer is made anew only when what it is made of changed.
FROM ${PYTHON_IMAGE} AS builder
ARG UV_VERSION
# hadolint ignore=DL3008,DL3042
RUN --mount=type=cache,target=/root/.cache/pip pip install "uv==${UV_VERSION}" \
 && apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 \
    UV_PROJECT_ENVIRONMENT=/opt/venv
WORKDIR /opt/flow-of-flows
ARG EXTRAS="duckdb postgres ingest serve s3 http kubernetes"
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
 && uv sync --locked --no-dev --no-install-project "$@"
# The bill of materials names what is in the environment, before anything that only the build needs.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv export --quiet --locked --only-group image --no-hashes -o /tmp/sbom-tools.txt \
 && uv venv --quiet /tmp/sbom && uv pip install --quiet --python /tmp/sbom/bin/python -r /tmp/sbom-tools.txt \
 && /tmp/sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o sbom.cdx.json /opt/venv/bin/python
COPY docker/slim.sh /tmp/slim.sh
RUN sh /tmp/slim.sh venv /opt/venv
COPY README.md LICENSE prefect.yaml ./
COPY flows flows
RUN --mount=type=cache,target=/root/.cache/uv \
    for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
 && uv sync --locked --no-dev --inexact "$@" \
 && /opt/venv/bin/python -m compileall -q flows

# Its packages are linked by absolute path, so they are installed where the project will be; what does not parse is no image.
ARG DBT_PROJECT=docker/dbt
COPY ${DBT_PROJECT} docker/dbt
WORKDIR /opt/flow-of-flows/docker/dbt
RUN rm -rf target logs dbt_packages \
 && DO_NOT_TRACK=1 /opt/venv/bin/dbt deps --quiet \
 && DO_NOT_TRACK=1 /opt/venv/bin/dbt parse --quiet \
 && rm -rf logs package-lock.yml.bak
# matplotlib would look for fonts in every pod.
RUN MPLCONFIGDIR=/opt/flow-of-flows/docker/matplotlib /opt/venv/bin/python -c \
    'from importlib.util import find_spec; find_spec("matplotlib") and __import__("matplotlib.font_manager")'

# The base without what only builds and people at a terminal use.
FROM ${PYTHON_IMAGE} AS system
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
COPY docker/slim.sh /tmp/slim.sh
RUN sh /tmp/slim.sh system

FROM scratch
# A trimmed root in one layer: what is deleted in a later layer would still be shipped.
# hadolint ignore=DL3067
COPY --from=system / /
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/flow-of-flows /opt/flow-of-flows
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flow-of-flows" \
      org.opencontainers.image.description="Prefect pipelines around a dbt project" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Only /tmp can be written at run time; Prefect would import every installed collection without the two block settings.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp/home \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    PREFECT_API_BLOCKS_REGISTER_ON_START=false \
    PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION=false \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1 \
    FLOWS_HOME=/tmp/flows \
    MPLCONFIGDIR=/opt/flow-of-flows/docker/matplotlib
WORKDIR /opt/flow-of-flows
USER 10001:10001
ENTRYPOINT ["/usr/bin/tini", "-g", "--"]
CMD ["flows", "--help"]
