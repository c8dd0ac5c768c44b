# make run    set up, then run the whole pipeline         make test   set up, then run the tests
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint bench schema up down clean

run: $(VENV)/run.done
	$(BIN)/python pipeline.py

test: $(VENV)/dev.done
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/dev.done
	for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# what a problem file may hold, as the dataclasses of schedule_problem.py say it
schema: $(VENV)/run.done
	$(BIN)/python schedule_problem_file.py

# Kafka and TimescaleDB in Docker, with passwords of their own
up: .env
	docker compose up -d --wait

down:
	docker compose --profile observe --profile app down

# generated data, embedded servers and the environment; volumes of Docker stay
clean:
	if [ -x $(BIN)/python ]; then $(BIN)/python embedded.py stop --delete; fi
	rm -rf data .vpp .pytest_cache .ruff_cache .hypothesis $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.done: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	touch $@

$(VENV)/dev.done: requirements-dev.txt $(VENV)/run.done
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@

.env:
	umask 077 && $(PYTHON) -c 'import secrets; [print(line.replace("change-me", secrets.token_urlsafe(24)), end="") for line in open(".env.example")]' > .env.new
	mv .env.new .env
