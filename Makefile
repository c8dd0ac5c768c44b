# `make help` lists the targets. Another Python than the first that serves: make PYTHON=python3.12 run
SERVES := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do "$$name" -c '$(SERVES)' >/dev/null 2>&1 && echo "$$name" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install
# Linux gets 5 GB of CUDA with the ordinary PyTorch, which serves nobody here
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

ROUNDS ?= 2
IMAGES ?= sink planner models
ENGINE ?= $(shell command -v podman || echo docker)
# podman lends the build this machine's authorities, where a company's proxy signs what comes
BUILD_FLAGS ?= $(if $(findstring podman,$(ENGINE)),--volume /etc/ssl/certs:/etc/ssl/certs:ro)

.DELETE_ON_ERROR:
.PHONY: help run test test-kafka test-homeassistant lint docs bench mutants schema lock image up down clean

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z.-]+: .*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/run.done ## set up, then run the whole pipeline
	$(BIN)/python pipeline.py

test: $(VENV)/dev.done ## run the tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-kafka: $(VENV)/dev.done ## run the tests of the stream on Apache Kafka, fetched by Maven
	$(BIN)/python tests/kafka_server.py --rounds $(ROUNDS)

test-homeassistant: $(VENV)/dev.done ## run the test on a real Home Assistant: VPP_TEST_HOMEASSISTANT names its virtual environment
	@test -x "$(VPP_TEST_HOMEASSISTANT)/bin/hass" || { echo "VPP_TEST_HOMEASSISTANT: expected a virtual environment with bin/hass; docs/home-assistant.md says how to make it"; exit 1; }
	@command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || { echo "needs the MQTT broker mosquitto: apt-get install mosquitto"; exit 1; }
	$(BIN)/python -m pytest tests/devices/test_homeassistant.py

lint: $(VENV)/dev.done ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m mypy

docs: $(VENV)/dev.done ## build the pages of docs/ into site/
	$(BIN)/python -m mkdocs build --strict -q

bench: $(VENV)/dev.done ## run every benchmark
	for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

mutants: $(VENV)/dev.done ## change the code a little, everywhere: do the tests see it?
	$(BIN)/python tests/mutants.py

schema: $(VENV)/run.done ## write the JSON schema of problem files from the code
	$(BIN)/python -m vpp.schedule.problem_file

# Without NVIDIA's packages: an ordinary PyTorch names them itself, its CPU build needs none.
lock: | $(BIN)/python ## renew requirements.lock from the ranges in requirements*.txt
	$(PIP) uv
	$(BIN)/python -m uv pip compile requirements-dev.txt requirements-models.txt --universal --python-version 3.11 -q \
		--no-annotate --no-header --strip-extras --no-emit-index-url --no-emit-find-links > requirements.lock.new
	{ echo '# Exact versions for Linux and macOS, Python 3.11 and newer; `make lock` renews them.'; \
		grep -Ev '^(nvidia-|cuda-|triton=)' requirements.lock.new; } > requirements.lock
	rm requirements.lock.new

image: ## build the images of Docker: make image IMAGES=sink builds that one only
	@$(ENGINE) --version >/dev/null || { echo 'no podman and no docker; install one of them' >&2; exit 1; }
	for image in $(IMAGES); do $(ENGINE) build $(BUILD_FLAGS) --target $$image --tag localhost/vpp-$$image:latest . || exit 1; done

up: .env ## start Kafka and TimescaleDB in Docker, with passwords of their own
	"$(PYTHON)" deploy/docker/write_secrets.py
	docker compose up -d --wait

down: ## stop the containers; their volumes stay
	docker compose --profile observe --profile app down

clean: ## delete generated data, embedded servers and the environment
	if [ -x $(BIN)/python ]; then $(BIN)/python embedded.py stop --delete; fi
	rm -rf data .vpp .pytest_cache .ruff_cache .mypy_cache .hypothesis site mutants $(VENV)

$(BIN)/python:
	@"$(PYTHON)" -c '$(SERVES)' >/dev/null 2>&1 || { echo 'no Python 3.11 or newer with venv; install one (Debian, Ubuntu: apt install python3-venv), or name it: make PYTHON=...' >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/run.done: requirements.txt requirements.lock | $(BIN)/python
	@if [ "$$(uname)" != Linux ] || $(BIN)/python -m pip show -q torch 2>/dev/null; then :; \
	elif $(BIN)/python -c 'from urllib.request import urlopen; urlopen("$(TORCH_INDEX)/torch/", timeout=5)' 2>/dev/null \
		&& $(PIP) --no-deps --index-url $(TORCH_INDEX) "$$(grep '^torch==' requirements.lock)"; \
	then echo 'PyTorch: its CPU build is installed'; \
	else echo 'PyTorch: the index of its CPU build does not answer, so the ordinary build comes, on most machines with 5 GB of CUDA'; fi
	$(PIP) -r requirements.txt -c requirements.lock
	@touch $@

$(VENV)/dev.done: requirements-dev.txt $(VENV)/run.done
	$(PIP) -r requirements-dev.txt -c requirements.lock
	@touch $@

.env:
	umask 077 && "$(PYTHON)" -c 'import secrets; [print(line.replace("change-me", secrets.token_urlsafe(24)), end="") for line in open(".env.example")]' > .env.new
	mv .env.new .env
