# Two images from one file: `sink` stores the stream and has only what that needs; `planner` forecasts
# and plans with all models. Packages stand in stages of their own below the code, so that an edit
# of a script installs nothing again.
# No secret is copied: .dockerignore admits the scripts and what they read beside them, and
# docker-compose.yml gives addresses and passwords at run time.
FROM python:3.11-slim-bookworm AS sink-packages
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 vpp \
    && mkdir -p /app/data /app/.vpp && chown vpp /app /app/data /app/.vpp
WORKDIR /app
COPY requirements.txt requirements.lock ./
# the locked versions, of these packages only
RUN pip install -c requirements.lock pandas confluent-kafka psycopg2-binary msgspec tenacity rich

FROM sink-packages AS planner-packages
# libgomp1: OpenMP of LightGBM and scikit-learn. PyTorch's CPU build first: the usual one brings
# 5 GB of CUDA.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.lock)" \
    && pip install -r requirements.txt -c requirements.lock

FROM sink-packages AS sink
COPY *.py config.ini ./
COPY vpp vpp
USER vpp
CMD ["python", "communication.py", "consume"]

FROM planner-packages AS planner
COPY *.py config.ini ./
COPY vpp vpp
COPY deploy/docker/plan_hourly.sh deploy/docker/
USER vpp
CMD ["sh", "deploy/docker/plan_hourly.sh"]
