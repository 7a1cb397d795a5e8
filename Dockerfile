# One image: job pod, worker, embedded server, registration.
#
#   docker build -t flow-of-flows:0.1.0 .
#   docker build --build-arg DBT_PROJECT=teams/finance/dbt --build-arg EXTRAS="snowflake ingest serve kubernetes aws alerts" .
#
# Any builder with BuildKit does; no syntax is used that would fetch a frontend.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG UV_VERSION=0.13.9

# The base with an init that hands signals on and git, which fetches dbt projects, without what only builds and people at
# a terminal use.
FROM ${PYTHON_IMAGE} AS system
COPY docker/slim.sh /tmp/slim.sh
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini git && rm -rf /var/lib/apt/lists/* \
 && sh /tmp/slim.sh system

# The locked packages: a layer of their own, made anew only when the lock file or the extras change.
FROM ${PYTHON_IMAGE} AS packages
ARG UV_VERSION
# hadolint ignore=DL3008,DL3042
RUN --mount=type=cache,target=/root/.cache/pip pip install "uv==${UV_VERSION}" \
 && apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_PROJECT_ENVIRONMENT=/opt/venv
WORKDIR /opt/flow-of-flows
ARG EXTRAS="duckdb postgres snowflake ingest serve s3 http kubernetes aws airbyte dbt-cloud alerts"
COPY pyproject.toml uv.lock ./
# setuptools: packages name it for their own builds, and none imports it.
RUN --mount=type=cache,target=/root/.cache/uv \
    for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
 && uv sync --locked --no-dev --no-install-project --no-install-package setuptools --no-compile-bytecode "$@"
# The bill of materials, before anything is taken out: the environment's packages and the system's.
COPY docker/sbom.py docker/slim.sh /tmp/
COPY --from=system /var/lib/dpkg/status /tmp/dpkg-status
RUN --mount=type=cache,target=/root/.cache/uv \
    uv export --quiet --locked --only-group image --no-hashes -o /tmp/sbom-tools.txt \
 && uv venv --quiet /tmp/sbom && uv pip install --quiet --python /tmp/sbom/bin/python -r /tmp/sbom-tools.txt \
 && /tmp/sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o /tmp/python.json /opt/venv/bin/python \
 && python3 /tmp/sbom.py /tmp/python.json /tmp/dpkg-status /opt/sbom.cdx.json
RUN sh /tmp/slim.sh venv /opt/venv

# The project, and its command for the environment above.
FROM packages AS project
COPY README.md LICENSE prefect.yaml ./
COPY flow_of_flows flow_of_flows
COPY flows flows
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --python /opt/venv/bin/python --prefix /opt/command --no-deps --editable . \
 && /opt/venv/bin/python -m compileall -q flow_of_flows flows \
 && cp -a /opt/command/. /opt/venv/

# Its packages are linked by absolute path, so they are installed where the project will be; what does not parse is no image.
# The parse is reused by pods whose connection is the same, so the variables of production may be given, never a secret:
# DBT_ENVIRONMENT="DBT_TARGET=postgres PGHOST=db.example.com PGUSER=loader PGDATABASE=shop".
ARG DBT_PROJECT=docker/dbt
ARG DBT_ENVIRONMENT="DBT_TARGET=duckdb DBT_DUCKDB_FOLDER=/tmp/flows/warehouse"
COPY ${DBT_PROJECT} docker/dbt
WORKDIR /opt/flow-of-flows/docker/dbt
RUN rm -rf target logs dbt_packages \
 && export DO_NOT_TRACK=1 \
 && /opt/venv/bin/dbt deps --quiet \
 && env ${DBT_ENVIRONMENT} /opt/venv/bin/dbt parse --quiet \
 && rm -rf logs package-lock.yml.bak target/manifest.json target/perf_info.json

FROM scratch
# A trimmed root in one layer: what is deleted in a later layer would still be shipped.
# hadolint ignore=DL3067
COPY --from=system / /
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /opt/sbom.cdx.json /opt/flow-of-flows/sbom.cdx.json
COPY --from=project /opt/command /opt/venv
COPY --from=project /opt/flow-of-flows /opt/flow-of-flows
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
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /opt/flow-of-flows
USER 10001:10001
ENTRYPOINT ["/usr/bin/tini", "-g", "--"]
CMD ["flows", "--help"]
