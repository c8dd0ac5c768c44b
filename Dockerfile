# Three images from one file: `sink` stores the stream and has only what that needs, `planner`
# forecasts and plans with all models, `models` is the MLflow server behind a password. Packages
# stand in stages of their own below the code, so that an edit of a script installs nothing again.
# No secret is copied: .dockerignore admits the scripts and what they read beside them, and
# docker-compose.yml hands over addresses and passwords at run time.
# To pin the base to bytes: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm
# hadolint ignore=DL3006
FROM ${BASE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore HOME=/tmp
# tini: process 1 hands signals on and buries children. Debian keeps one version of each package,
# so that a version named here would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vpp \
    && mkdir -p /app/data /app/.vpp && chown 10001:10001 /app/data /app/.vpp
WORKDIR /app
ENTRYPOINT ["tini", "--"]

FROM base AS sink-packages
COPY requirements-sink.txt requirements.lock ./
RUN pip install -r requirements-sink.txt -c requirements.lock

FROM base AS models
COPY requirements-models.txt requirements.lock ./
RUN pip install -r requirements-models.txt -c requirements.lock
COPY deploy/docker/models.py ./
# a new volume is given to whom the image gives the folder
RUN mkdir /mlflow && chown 10001:10001 /mlflow
USER 10001:10001
CMD ["python", "models.py"]

FROM sink-packages AS planner-packages
# libgomp1: OpenMP of LightGBM and scikit-learn. PyTorch's CPU build first, where its index answers:
# the usual one brings 5 GB of CUDA.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt ./
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.lock)" \
    || echo "no answer of $TORCH_INDEX: the usual PyTorch comes"
RUN pip install -r requirements.txt -c requirements.lock

# The code belongs to root and the process is another user: it cannot change what it runs.
FROM sink-packages AS sink
COPY *.py config.ini ./
COPY vpp vpp
RUN chmod -R a+rX . && chmod 700 .vpp && python -m compileall -q --invalidation-mode unchecked-hash .
USER 10001:10001
CMD ["python", "communication.py", "consume"]

FROM planner-packages AS planner
COPY *.py config.ini ./
COPY vpp vpp
COPY deploy/docker/plan_hourly.sh deploy/docker/
RUN chmod -R a+rX . && chmod 700 .vpp && python -m compileall -q --invalidation-mode unchecked-hash .
USER 10001:10001
CMD ["sh", "deploy/docker/plan_hourly.sh"]
