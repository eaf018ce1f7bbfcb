# make run    the example pipeline, twice, in an Airflow of its own (.airflow/); on a terminal it serves until Ctrl-C
# make test   all tests
# make lint types docs bench   the other checks
# make lock   the lock files of requirements/, one pair per Python version
# make clean  everything that these commands made
#
# Needs Python 3.11 to 3.13, git and make. Installs into .venv, with uv if it is on PATH, else with venv and pip.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
UV := $(shell command -v uv 2>/dev/null)
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& command -v $$python && break; done)
ifneq ($(UV),)
PYTHON := $(or $(PYTHON),3.12)
endif
# An environment that uv has made has no pip, but it has uv, which the package depends on.
install = if [ -z "$(UV)" ] && $(PY) -m pip --version >/dev/null 2>&1; \
	then $(PY) -m pip install --quiet --disable-pip-version-check $(1); \
	else $(or $(UV),$(BIN)/uv) pip install --quiet --compile-bytecode --python $(PY) $(1); fi
LOCK = requirements/py$$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The machine's own certificates: an index of one's own is often signed by one of them.
export UV_SYSTEM_CERTS ?= true

# Airflow's processes start twice as fast from compiled files.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test lint types docs bench lock clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

$(PY):
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11, 3.12 or 3.13 on PATH; install one, or uv" >&2; exit 1; fi
	@echo "Creating $(VENV) with $(PYTHON)"
	@if [ -n "$(UV)" ]; then $(UV) venv --quiet --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m pip install --quiet --user virtualenv \
		&& $(PYTHON) -m virtualenv --quiet $(VENV); }; fi

# The stamps say what is installed; a newer lock or package description installs again.
$(VENV)/.run: setup.cfg pyproject.toml requirements/py3.11.txt requirements/py3.12.txt requirements/py3.13.txt | $(PY)
	@echo "Installing what running needs"
	@$(call install,-r $(LOCK).txt)
	@$(call install,--no-deps -e .)
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/py3.11-dev.txt requirements/py3.12-dev.txt requirements/py3.13-dev.txt
	@echo "Installing what testing needs"
	@$(call install,-r $(LOCK)-dev.txt)
	@touch $@

run: $(VENV)/.run
	@$(PY) -m airflow_azureml.demo --home .airflow

test: $(VENV)/.dev
	@$(PY) -m pytest -q

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# mypy cannot follow the folders to their package names, so the wheel is checked, as users get it.
types: $(VENV)/.dev
	@rm -rf build/types && mkdir -p build/types
	@$(PY) -m build --wheel --no-isolation --outdir build/types . >build/types/build.log 2>&1 || { cat build/types/build.log; exit 1; }
	@$(PY) -m zipfile -e build/types/*.whl build/types/site
	@cd build/types/site && MYPYPATH=. ../../../$(BIN)/mypy --config-file ../../../pyproject.toml -p airflow_azureml

docs: $(VENV)/.dev
	@$(PY) docs/generate.py
	@if [ -f docs/check.py ]; then $(PY) docs/check.py; fi

bench: $(VENV)/.dev
	@$(PY) -m benchmarks

lock:
	@for version in 3.11 3.12 3.13; do \
		lock=requirements/py$$version; options="--quiet --universal --no-header --no-emit-index-url --python-version $$version"; \
		$(or $(UV),$(BIN)/uv) pip compile $$options $(UPGRADE) setup.cfg -o $$lock.txt && \
		$(or $(UV),$(BIN)/uv) pip compile $$options $(UPGRADE) setup.cfg requirements/dev.in -c $$lock.txt -o $$lock-dev.txt \
		|| exit 1; done

clean:
	@rm -rf .venv .airflow build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
