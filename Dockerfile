# Two images of one code: `serving` (API, web page, Feast's server) and `airflow` (everything else); `airflow-gpu` is `airflow` with CUDA.
#
#   docker build --target serving -t portrait/serving .
#
# Where no registry can be reached: docker/offline-base.sh, then --build-arg BASE=portrait-offline/python:3.11 and
# --build-arg BUILD_BASE=portrait-offline/build:3.11. Only the stages that are thrown away come from BUILD_BASE. Needs no BuildKit, whose absence
# is why each image's stages stand together: the older builder makes every stage above the target.
#
# POSTGRES and REDIS are the images of the servers in docker-compose.yml: their client programs, of the very versions, make the backups.
ARG BASE=python:3.11-slim-bookworm
ARG BUILD_BASE=python:3.11-slim-bookworm
ARG POSTGRES=postgres:16-bookworm
ARG REDIS=redis:7-bookworm

FROM ${BUILD_BASE} AS build
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy UV_HTTP_TIMEOUT=180 PIP_NO_CACHE_DIR=1
WORKDIR /opt/portrait
COPY requirements/uv.txt requirements/
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt \
    && python3 -m venv --without-pip /opt/venv \
    && printf '#!/opt/venv/bin/python\nfrom cli import main\n\nmain()\n' >/opt/venv/bin/portrait \
    && chmod +x /opt/venv/bin/portrait
COPY docker/finish-venv.sh docker/

# What all images begin with: the user, the place of the house, the paths. The system stays read-only, so everything is compiled above.
FROM ${BASE} AS runtime
RUN groupadd --gid 10001 portrait \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin portrait \
    && install -d -o portrait -g portrait -m 755 /house /scrape
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/portrait PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp PORTRAIT_HOME=/house PORTRAIT_HOST=0.0.0.0
WORKDIR /opt/portrait

FROM build AS serving-packages
COPY requirements/serving.txt requirements/
RUN /opt/uv/bin/uv pip sync --quiet --python /opt/venv/bin/python --require-hashes requirements/serving.txt
COPY serving/portrait_client/wire.proto serving/portrait_client/
COPY serving/model_server/parameters.proto serving/model_server/
RUN sh docker/finish-venv.sh grpcio-tools mypy setuptools

FROM runtime AS serving
COPY --from=serving-packages /opt/venv /opt/venv
COPY . .
COPY --from=serving-packages /protos serving
ARG REVISION=
RUN python -m compileall -q . && printf '%s\n' "$REVISION" >REVISION
USER 10001:10001
CMD ["portrait", "service", "api"]

FROM build AS airflow-packages
COPY requirements/portrait.txt requirements/
RUN /opt/uv/bin/uv pip sync --quiet --python /opt/venv/bin/python --require-hashes requirements/portrait.txt
COPY serving/portrait_client/wire.proto serving/portrait_client/
COPY serving/model_server/parameters.proto serving/model_server/
# without the tools that only a checkout needs: tests, lint, a browser
RUN sh docker/finish-venv.sh axe-playwright-python hypothesis hypothesis-graphql import-linter jsonschema-rs libclang \
        mypy playwright pytest pytest-timeout pytest-xdist ruff schemathesis sqlfluff sqlfluff-templater-dbt

FROM ${POSTGRES} AS postgres-programs
COPY docker/gather.sh /
RUN ["sh", "/gather.sh", "/opt/servers", "pg_dump", "pg_restore"]

FROM ${REDIS} AS redis-programs
COPY docker/gather.sh /
RUN ["sh", "/gather.sh", "/opt/servers", "redis-cli", "redis-server"]

FROM runtime AS airflow
COPY --from=postgres-programs /opt/servers /opt/servers/postgres
COPY --from=redis-programs /opt/servers /opt/servers/redis
ENV PATH=$PATH:/opt/servers/postgres/bin:/opt/servers/redis/bin
COPY --from=airflow-packages /opt/venv /opt/venv
COPY . .
COPY --from=airflow-packages /protos serving
ARG REVISION=
RUN python -m compileall -q . && printf '%s\n' "$REVISION" >REVISION
USER 10001:10001
CMD ["portrait", "service", "airflow-scheduler"]

FROM airflow-packages AS airflow-gpu-packages
COPY requirements/gpu.txt requirements/
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes -r requirements/gpu.txt \
    && rm -rf /opt/venv/lib/python3*/site-packages/tensorflow/include

FROM runtime AS airflow-gpu
COPY --from=airflow-gpu-packages /opt/venv /opt/venv
COPY . .
COPY --from=airflow-gpu-packages /protos serving
ARG REVISION=
RUN python -m compileall -q . && printf '%s\n' "$REVISION" >REVISION
USER 10001:10001
CMD ["portrait", "service", "worker-gpu-1"]
