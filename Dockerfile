# The platform as an image that projects build on, and the project of this repository on it. docs/image.md explains both.
#
#   docker build --target base --tag flow-of-flows:0.1.0-base .
#   docker build --tag flow-of-flows:0.1.0 .
#
# Any builder with BuildKit does; no syntax is used that would fetch a frontend.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# The locked packages: a layer of their own, made anew only when the lock file or the extras change.
FROM ${PYTHON_IMAGE} AS packages
ARG UV_VERSION=0.13.9
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/root/.cache/pip pip install "uv==${UV_VERSION}"
# Python writes no byte code by itself: that would depend on times.
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_PROJECT_ENVIRONMENT=/opt/venv \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
ARG EXTRAS="duckdb postgres snowflake ingest s3 http kubernetes aws airbyte dbt-cloud alerts"
COPY pyproject.toml uv.lock ./
# dbt-adapters comes last, because dbt-duckdb has a file of it in another form, and wheels are installed in no order.
RUN --mount=type=cache,target=/root/.cache/uv \
    for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
 && set -- --locked --no-default-groups --group image --no-install-project --no-compile-bytecode "$@" \
 && uv sync --no-install-package dbt-adapters "$@" \
 && uv sync "$@"
# Nothing can write byte code later. Nothing imports tests, nor setuptools, which dlt only names. With hashes in place of
# times, so that two builds give the same files.
RUN PYTHONHASHSEED=0 /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode checked-hash \
      -x '/(tests?|testing|setuptools)/' /opt/venv/lib

# The platform, as the wheel that a release publishes.
FROM packages AS platform
COPY README.md LICENSE ./
COPY flow_of_flows flow_of_flows
# By pip, and from a folder: uv would note the time of the wheel, and either the path of a file. What is in `templates` is
# written by commands, and not imported.
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/uv \
    uv build --quiet --wheel --out-dir /tmp/wheels \
 && pip --python /opt/venv/bin/python install --quiet --disable-pip-version-check --no-cache-dir --no-compile --no-deps \
      --no-index --find-links /tmp/wheels --prefix /opt/platform flow-of-flows \
 && PYTHONHASHSEED=0 /opt/venv/bin/python -m compileall -q --invalidation-mode checked-hash -x '/templates/' \
      -s /opt/platform -p /opt/venv /opt/platform/lib

FROM ${PYTHON_IMAGE} AS base
# An init that hands signals on, and git, which fetches dbt projects and packages; both without manuals and translations.
# hadolint ignore=DL3008
RUN printf 'path-exclude=/usr/share/%s/*\n' doc man info locale > /etc/dpkg/dpkg.cfg.d/without-manuals \
 && printf 'path-include=/usr/share/doc/*/copyright\n' >> /etc/dpkg/dpkg.cfg.d/without-manuals \
 && apt-get update && apt-get install -y --no-install-recommends tini git \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/apt /var/log/*.log \
 # Debian's Python comes with the byte code of the standard library, that of python:slim without.
 && library="$(python -B -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && if [ -z "$(find "${library}/__pycache__" -name 'ast.*.pyc')" ]; then \
      PYTHONHASHSEED=0 python -m compileall -q -j 0 --invalidation-mode checked-hash \
        -x '/(tests?|idlelib|lib2to3|ensurepip|turtledemo|(site|dist)-packages)/' "${library}"; \
    fi \
 && install -d -o 10001 -g 10001 /project
# Both belong to the user of the image, so that `RUN uv pip install …` needs no other.
COPY --from=packages --chown=10001:10001 /opt/venv /opt/venv
COPY --from=platform --chown=10001:10001 /opt/platform /opt/venv
# Whatever is installed on it fits the platform: uv and pip keep to its versions. At run time only /tmp can be written. Without the two block settings Prefect would import every installed collection.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    VIRTUAL_ENV=/opt/venv \
    UV_CONSTRAINT=/opt/venv/platform.txt \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=1 \
    PIP_PYTHON=/opt/venv/bin/python \
    PIP_CONSTRAINT=/opt/venv/platform.txt \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
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
WORKDIR /project
USER 10001:10001
RUN python -B -m flow_of_flows.bake.bill /opt/venv/sbom.cdx.json \
 && python -B -m flow_of_flows.bake.distributions > /opt/venv/platform.txt
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flow-of-flows" \
      org.opencontainers.image.description="Prefect pipelines around a dbt project" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["/usr/bin/tini", "-g", "--"]
CMD ["flows", "--help"]

# The project of this repository, as any other: files, then one command.
FROM base
COPY --chown=10001:10001 prefect.yaml pyproject.toml requirements.txt ./
COPY --chown=10001:10001 flows flows
COPY --chown=10001:10001 docker/dbt docker/dbt
# Job pods reuse the parse if their connection is the same, so the variables of production may be given, never a secret:
# DBT_ENVIRONMENT="DBT_TARGET=postgres PGHOST=db.example.com PGUSER=loader PGDATABASE=shop".
ARG DBT_ENVIRONMENT=""
ARG SOURCE_DATE_EPOCH
RUN env ${DBT_ENVIRONMENT} flows bake
