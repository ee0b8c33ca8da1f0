# Every target sets up what it needs. On a bare machine only python3.11+, make and git have to be there.
#   make demo PYTHON=python3.12     another interpreter for the environment
#   make ui PORT=5001               another port for MLflow

PYTHON ?= python3
VENV ?= .venv
PORT ?= 5000

BIN := $(VENV)/bin
SPEC := grid/specs/orl_demo.yaml
HOME_FOLDER := .decoygrid
PIP_INSTALL = $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help install demo test servers check versions ui clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed-dev  ## make .venv with decoygrid and the tools for developing it
	@printf 'ready: %s/decoygrid --help\n' '$(BIN)'

demo: $(VENV)/.installed  ## install, run the ORL grid, print the table (ten minutes on 2 cores after the install)
	@$(BIN)/decoygrid run $(SPEC)
	@printf '\nThe picture, the tables and report.html are in results/orl_demo/. For MLflow: make ui\n'

test: $(VENV)/.installed-dev servers  ## run the tests
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# For the tests of MLflow on a server and of `ray up`, which are skipped without: installed where that needs nobody to
# be asked, by root of a machine with apt.
servers:
	@wanted=; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || wanted="$$wanted postgresql"; \
	[ -x /usr/sbin/sshd ] || wanted="$$wanted openssh-server"; \
	command -v ssh >/dev/null || wanted="$$wanted openssh-client"; \
	command -v rsync >/dev/null || wanted="$$wanted rsync"; \
	command -v ip >/dev/null || wanted="$$wanted iproute2"; \
	if [ -n "$$wanted" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		printf 'installing for tests:%s\n' "$$wanted"; \
		{ timeout 300 apt-get -qq update && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y \
			--no-install-recommends $$wanted; } >/dev/null 2>&1 || printf 'not installed: their tests are skipped\n'; \
	fi

check: $(VENV)/.installed-dev  ## ruff check, ruff format --check, mypy --strict
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy --strict

versions: $(VENV)/.installed-dev  ## write down the stages' versions after a change (see CONTRIBUTING.md)
	$(BIN)/python -m tests.stage_versions --write

# One worker and no job workers: less memory. check_place makes the database as the grid would.
ui: $(VENV)/.installed  ## MLflow in the browser, on this machine only
	@$(BIN)/python -c "from grid.mirror_place import check_place; check_place('sqlite:///$(HOME_FOLDER)/mlflow.db')"
	@printf 'MLflow: http://127.0.0.1:%s (Ctrl-C ends it)\n' '$(PORT)'
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true $(BIN)/python -m mlflow server \
		--backend-store-uri 'sqlite:///$(HOME_FOLDER)/mlflow.db' \
		--artifacts-destination '$(HOME_FOLDER)/mlartifacts' \
		--host 127.0.0.1 --port $(PORT) --workers 1

clean:  ## remove caches and build leftovers; .venv, results and the store stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find analysis benchmarks grid search_spaces tasks tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { printf '%s is older than Python 3.11; use: make PYTHON=python3.12 ...\n' '$(PYTHON)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/pip
	@printf 'installing into %s: about 6 GB with torch, some minutes\n' '$(VENV)'
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	@printf 'installing into %s: about 6 GB with torch, some minutes\n' '$(VENV)'
	$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed $@
