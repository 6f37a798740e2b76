# make demo   start the whole platform with a simulated fleet; prints the console's address
# make test   install what is needed and test every adapter against its real part
# make check  lint, types and unit tests: the inner loop
# make test-engine   break a real vLLM on the CPU in every way (1 GB to fetch once, a quarter of an hour)
# make setup  .venv only   make web  the console's assets   make campaign  the long measurements
# make ebpf   compile the kernel programs anew (clang, llvm, libbpf-dev); their object is committed

SHELL := /bin/bash
PYTHON ?= python3.11
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml Makefile | sha256sum | cut -c1-12)
ASSETS := console/static/manifest.json
export UV_PYTHON_DOWNLOADS := never

.PHONY: demo test check setup web campaign test-engine ebpf lint types unit lock clean

demo: setup web
	@$(BIN)/python -m deploy.demo

test:
	@bash tests/run.sh

check: setup web lint types unit

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache

types: setup
	@$(BIN)/mypy

unit: setup web
	@$(BIN)/pytest -q tests/unit tests/tidy tests/docs --durations=10

campaign: setup web
	@$(BIN)/python -m benchmarks.campaign

test-engine: setup
	@FLEETMEND_ENGINE_RECORD=benchmarks/results/engine.json $(BIN)/pytest -q tests/engine --durations=12

setup: $(READY)

$(READY):
	@echo "setting up $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-* && touch $@

web: $(ASSETS)

$(ASSETS): $(shell find web -type f -not -path '*/node_modules/*' 2>/dev/null)
	@echo "building the console's assets"
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --silent && npm run --silent build
	@touch $@

ebpf:
	@collectors/ebpf/build.sh

lock: setup
	@$(BIN)/uv pip compile pyproject.toml --extra platform --group dev --generate-hashes \
		--no-emit-index-url --no-header --python-version 3.11 --universal --quiet -o requirements.lock

clean:
	rm -rf $(VENV) console/static web/node_modules
