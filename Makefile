# `make help` lists the targets. Everything installs what it needs by itself and is quick the second time.

# The first of these that is new enough makes the environment; `make PYTHON=/path/to/python` decides otherwise.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

FAULT ?= cpu
OUT ?= demo-out
KEEP ?=
SCENARIO ?=
FUZZ_SECONDS ?= 600

.PHONY: help install tools demo test test-duckdb2 check soak bench fuzz docs golden proto lock
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo FAULT=cpu|leak|heap|lock|dependency|errors|gc|n-plus-one|retry-storm|instance|deploy|none [KEEP=1] [OUT=demo-out]"

# --- what everything else needs -------------------------------------------------------------------------------------

install: $(VENV)/.dev ## the Python environment, with everything for tests

# Hashes are checked for every package, the build backend included, which is why it builds without isolation.
$(VENV)/.run: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (make PYTHON=/path/to/python)" >&2; exit 2; }
	@echo "installing what diagnose needs into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 2; }
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.fuzz: requirements-fuzz.lock $(VENV)/.dev
	@echo "installing the fuzzer into $(VENV)"
	@$(PIP) --require-hashes -r requirements-fuzz.lock
	@touch $@

tools: $(VENV)/.run ## the real programs of the demo, found or built once into .tools/bin
	@$(BIN)/python -m demo.tools

# --- the main job ---------------------------------------------------------------------------------------------------

demo: $(VENV)/.run ## the real stack from nothing: a fault, an alert, a report in OUT
	@$(BIN)/python -m demo --fault "$(FAULT)" --out "$(OUT)" $(if $(KEEP),--keep)

# --- for those who change it ----------------------------------------------------------------------------------------

test: $(VENV)/.dev tools ## everything CI runs: Go, unit, integration, the whole stack
	@$(BIN)/python -m demo.golang -C target vet ./...
	@$(BIN)/python -m demo.golang -C target test ./...
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest

test-duckdb2: $(VENV)/.dev $(VENV)/duckdb2 tools ## the tests that touch SQL or storage, with DuckDB 2.0
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)/$(VENV)/duckdb2" $(BIN)/pytest -m "not e2e and not browser"

# Only DuckDB is another one: it lies before the environment's own on the path.
$(VENV)/duckdb2: requirements-duckdb2.lock | $(VENV)/.dev
	@$(PIP) --require-hashes --no-deps --upgrade --target $@ -r requirements-duckdb2.lock
	@touch $@

check: $(VENV)/.dev ## format, lint, types, import layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy demo
	@$(BIN)/lint-imports
	@$(BIN)/python -m demo.golang -C target vet ./...
	@unformatted=$$($(BIN)/python -m demo.golang gofmt -l target tests) && \
		test -z "$$unformatted" || { echo "not formatted as gofmt does: $$unformatted" >&2; exit 1; }

soak: $(VENV)/.dev tools ## the full counts of crashes and load, an hour at most; SCENARIO=name for one
	@timeout 3600 $(BIN)/python -m bench.soak $(SCENARIO)

bench: $(VENV)/.dev tools ## measure; SCENARIO=name for one, JSON in bench/results
	@timeout 3600 $(BIN)/python -m bench.soak --measure $(SCENARIO)

fuzz: $(VENV)/.fuzz ## hostile bytes against every decoder and the whole HTTP API; FUZZ_SECONDS=600
	@$(BIN)/python -m fuzz.decoders --seconds $(FUZZ_SECONDS)
	@$(BIN)/python -m bench.schemathesis_run

docs: $(VENV)/.dev ## write the generated files of docs/reference and compose again
	@$(BIN)/python -m diagnose.cli.reference docs/reference
	@$(BIN)/python -m tests.on_call_page docs/how-to/on-call-queries.md
	@$(BIN)/python -m demo.compose

golden: $(VENV)/.dev ## write the golden files of the tests again; read the diff
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q -m "not e2e"

proto: $(VENV)/.dev ## generate the protobuf classes again
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. $$(git ls-files '*.proto')

lock: ## choose the newest versions and write the lock files (needs uv)
	@printf 'duckdb==1.5.5\nhatchling\neditables\n' | uv pip compile pyproject.toml - $(LOCK) --output-file requirements.lock
	@uv pip compile pyproject.toml --extra dev --constraint requirements.lock $(LOCK) --output-file requirements-dev.lock
	@echo atheris | uv pip compile - $(LOCK) --output-file requirements-fuzz.lock

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
