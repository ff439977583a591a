# One-word verbs. `make serve` starts the service from a new clone; CI (.ci/run) calls the same verbs.
#
#   PYTHON=python3.12   the interpreter that makes .venv (3.11 or newer)
#   PIP_INDEX=URL       another package index to install from
#   ARGS="--port 9000"  options handed on to `longtake serve`, `longtake bench` or pytest

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
PIP_INDEX ?=
ARGS ?=

BIN := .venv/bin
PIP_INSTALL := $(BIN)/pip install --quiet $(if $(PIP_INDEX),--index-url $(PIP_INDEX)) -c constraints.txt
# The stamps say what .venv holds: what the service needs, on top of it what tests need, and on top of that what
# developers and tests of the whole system need.
SERVE_STAMP := .venv/installed-serve
TEST_STAMP := .venv/installed-test
DEV_STAMP := .venv/installed-dev

.PHONY: help serve test test-system lint bench clean

help:
	@echo "make serve        start the service (http://127.0.0.1:8000)"
	@echo "make test         the tests that need nothing but Python"
	@echo "make test-system  the tests that need system packages or the whole service running"
	@echo "make lint         ruff and mypy"
	@echo "make bench        measure the engine and baselines, one JSON document as the last line"

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(SERVE_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into .venv; this takes a minute or two the first time"
	$(PIP_INSTALL) -e .
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into .venv, with what tests need; this takes a minute or two the first time"
	$(PIP_INSTALL) -e '.[test]'
	@touch $(SERVE_STAMP) $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into .venv, with what developers need; this takes a minute or two the first time"
	$(PIP_INSTALL) -e '.[dev]'
	@touch $(SERVE_STAMP) $(TEST_STAMP) $@

serve: $(SERVE_STAMP)
	$(BIN)/longtake serve $(ARGS)

test: $(TEST_STAMP)
	$(BIN)/python -m pytest -m "not system and not gpu and not slow" $(ARGS)

test-system: $(DEV_STAMP)
	.ci/system-packages
	$(BIN)/python -m pytest -m system $(ARGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(TEST_STAMP)
	$(BIN)/python -m tests.bench.baselines --bench $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
