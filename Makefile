# make demo, make test: nothing else is needed on a bare machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/*)
JOBS ?= 3

.PHONY: help demo test lint check bench docs clean

help:
	@echo "make demo    run the main job on real data, offline"
	@echo "make test    run the whole suite"
	@echo "make check   what CI runs: lint and test"
	@echo "make bench   measure side by side with peers; writes docs/bench"
	@echo "make docs    build docs/_build/html"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fetchline needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'

# One stamp for each set of packages, so that the demonstration does not wait for the test tools.
$(VENV)/.demo: pyproject.toml plugins/fetchline-httpx/pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e . -e plugins/fetchline-httpx
	touch $@

$(VENV)/.test: pyproject.toml $(wildcard plugins/*/pyproject.toml) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --group test --group check --group docs -e . $(addprefix -e ,$(PLUGINS))
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install --quiet --group bench
	touch $@

demo: $(VENV)/.demo
	$(BIN)/fetchline demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

bench: $(VENV)/.bench
	$(BIN)/python -m tests.bench --out docs/bench

docs: $(VENV)/.test
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

clean:
	rm -rf $(VENV) build dist docs/_build
