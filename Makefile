# Everything a newcomer needs: `make` alone lists the targets. Needs Python >= 3.11, git and make; nothing else.
.DEFAULT_GOAL := help
.PHONY: help install demo demo-docker test e2e lint format docs simulate pairs bench crash storage mutants coverage mutation lock clean

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CANDIDATES := python3 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for each in $(CANDIDATES); do "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$each"; break; }; done)
BIN := .venv/bin
INSTALLED := .venv/installed
PACKAGES := reconciler definitions state
WORKERS ?= 2
SEEDS ?= 20000
START ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE # every start would compile the product anew

help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(INSTALLED) ## make .venv with the `reconciler` command in it

# Only a changed lock or pyproject.toml installs again; a .venv whose interpreter has gone is made anew.
$(INSTALLED): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "reconciler needs Python 3.11 or newer as python3: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks venv: apt install python3-venv" >&2; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: apt install git" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## a commit becomes a finished workflow, and survives a kill (under a minute)
	$(BIN)/python -m reconciler.cli.demo

demo-docker: install ## the same with a step in a real container of IMAGE, on the engine at DOCKER_HOST
	$(BIN)/python -m reconciler.cli.demo $(or $(IMAGE),busybox)

# One worker more than cores: a fifth of the time tests wait for controllers.
test: install ## the default test suite (under 6 minutes on 2 cores)
	$(BIN)/python -m pytest -n $$(($(WORKERS) + 1)) --ignore tests/e2e $(ARGUMENTS)

# Without an engine each test says why it is skipped; where CI=true there has to be one.
e2e: install ## the tests with a real Docker engine, the one at DOCKER_HOST (KILLS=10 of a controller, RESTARTS=3 of an engine at random moments)
	NEEDS_ENGINE=$(if $(filter true,$(CI)),1) KILLS=$(or $(KILLS),10) RESTARTS=$(or $(RESTARTS),3) \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --timeout 240 tests/e2e tests/contract $(ARGUMENTS)

lint: install ## ruff, the format, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## rewrite the sources in the house format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: install ## write the generated parts of docs/ again
	$(BIN)/python -m tests.project.write_docs

simulate: install ## SEEDS=20000 random histories with every kind of fault, START=0 the first (tests/simulation)
	$(BIN)/python -m tests.simulation run --seeds $(SEEDS) --start $(START) --workers $(WORKERS)

pairs: install ## crash twelve workflows at every two of their yield points (a quarter of an hour on 2 cores; NAME='a process': one)
	$(BIN)/python -m tests.simulation pairs $(if $(NAME),'$(NAME)') --workers $(WORKERS)

bench: install ## measure the loop against named baselines
	$(BIN)/python -m tests.bench

crash: install ## kill the controller at many moments and judge what is left (KILLS=60 POINTS=40, 0: all)
	$(BIN)/python -m tests.crash --kills $(or $(KILLS),60) --points $(or $(POINTS),40) --workers $(WORKERS) $(ARGUMENTS)

storage: install ## failing and full disks, flipped bits, second controllers, backups under load (ARGUMENTS="--flips 50")
	$(BIN)/python -m tests.crash.storage $(ARGUMENTS)

mutants: install ## plant 25 bugs one by one and print which check caught each (ARGUMENTS="--only NAME", "--rotate 5")
	$(BIN)/python -m tests.mutants --workers $(WORKERS) $(ARGUMENTS)

# The tests that decide in this process: coverage of the controllers that others start would cost minutes and add nothing.
coverage: install ## branch coverage of what decides: plan, phases, changes, store (figures, no gate)
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/unit tests/scenarios tests/simulation \
	  -k "not whatever_fails and not crash_at_any and not takes_less_than" --timeout 600 \
	  tests/integration/test_store.py tests/integration/test_backup.py tests/integration/test_damage.py \
	  --cov=reconciler.plan --cov=state.phases --cov=state.changes --cov=state.store --cov-branch $(ARGUMENTS)

mutation: install ## small changes to the same modules, and how many a test notices (SAMPLE=80 MINUTES=12; SAMPLE=0: all)
	$(BIN)/python -m tests.mutation --sample $(or $(SAMPLE),80) --minutes $(or $(MINUTES),12) --workers $(WORKERS) $(ARGUMENTS)

lock: install ## resolve requirements.lock again (hashes, no addresses)
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install --quiet uv; \
	"$$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --extra speed --extra script --group dev \
	  --output-file requirements.lock pyproject.toml

clean: ## remove what the other targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov dist build
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
