# Every target installs what it needs into .venv; `make demo` and `make test` are a newcomer's whole set-up.
.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-nightly check fmt generate lock bench bench-audit bench-anchors clean
SHELL := /bin/bash

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is touched last: an interrupted installation is simply done again.
.venv/.installed: requirements/dev.txt pyproject.toml sdk/pyproject.toml
	@echo "Installing Quorate and its tools into .venv (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Quorate needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./sdk
	@touch $@

demo: .venv/.installed ## The whole story on a real API server and a real Postgres
	@$(BIN)/python -m quorate_cli demo

test: .venv/.installed ## Every test (real API server, real Postgres)
	$(PYTEST) -n 2 --dist loadfile -m "not long"

test-long: .venv/.installed ## The long chaos runs too
	$(PYTEST)

test-nightly: .venv/.installed ## The long chaos runs alone: 200 times kill -9, and others
	$(PYTEST) -m long

check: .venv/.installed ## Formatting, lint, types, layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python hack/generate.py --check

fmt: .venv/.installed ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: .venv/.installed ## crds/, manifests/, schemas/ and docs/reference/ from the models
	$(BIN)/python hack/generate.py

bench: .venv/.installed ## Figures as JSON lines, each with its baseline
	@$(BIN)/python -m tests.bench

bench-audit: .venv/.installed ## The audit log's figures, over ten million entries (15 GB, half an hour)
	@$(BIN)/python -m tests.bench audit

bench-anchors: .venv/.installed ## Our append beside immudb and Tessera (needs Go; builds them once)
	@$(BIN)/python -m tests.bench.anchors

lock: ## Pin every dependency by hash (no registry addresses)
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra sandbox --extra object-store --extra pkcs11 --extra agent --group dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra sandbox --extra object-store --extra pkcs11 --extra agent pyproject.toml -o requirements/run.txt

clean: ## Remove the virtual environment and caches of this checkout
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
