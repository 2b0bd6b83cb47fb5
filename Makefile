# Everything runs in .venv, made on first use. PYTHON=… chooses the interpreter to make it of.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_ARGS ?=
# Tests wait for engines and servers most of the time: as root, where each process has an engine of
# its own, three files run at once. On a shared engine they would clean up each other's things.
AT_ONCE := $(if $(BACKUPD_TEST_DOCKER_HOST),,$(if $(filter 0,$(shell id -u)),--numprocesses 3 --dist loadfile))

# Caches of tools live in one ignored place.
export RUFF_CACHE_DIR := $(CURDIR)/.cache/ruff
export MYPY_CACHE_DIR := $(CURDIR)/.cache/mypy
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.cache/hypothesis

.PHONY: help
help: ## show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: lint ## check everything: format, lint, types, and all tests with a real engine and a real S3 server
	$(BIN)/python -m pytest -o cache_dir=.cache/pytest $(AT_ONCE) $(PYTEST_ARGS)

.PHONY: test-systemd
test-systemd: $(READY) ## install and run backupd under a real systemd, booted in a container (as root)
	$(BIN)/python -m pytest -o cache_dir=.cache/pytest tests/systemd $(PYTEST_ARGS)

# Files in their order, not those with the most tests first: the longest ones have a single test.
.PHONY: test-faults
test-faults: $(READY) ## faults of store, engine and host, kills at each step, a short soak; nothing may stay broken (as root)
	$(BIN)/python -m pytest -o cache_dir=.cache/pytest tests/faults \
		$(if $(AT_ONCE),$(AT_ONCE) --no-loadscope-reorder) $(PYTEST_ARGS)

.PHONY: soak
soak: $(READY) ## hundreds of runs with random faults, then restore every backup; RUNS=… SEED=… (as root)
	$(BIN)/python -m tests.faults.soak $(or $(RUNS),300) $(SEED)

.PHONY: lint
lint: $(READY) ## check format, lint and types only
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

.PHONY: format
format: $(READY) ## put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: demo
demo: $(READY) ## back up an image and a container to a real S3 server, and bring them back
	@$(BIN)/python -m tests.demo

# ROWS="first-backup unchanged" measures only these, SIZE_MB=100 ROUNDS=1 takes a quick look, FULL=1
# adds the 20 GiB. Only a run of the full size is written down.
.PHONY: bench
bench: $(READY) ## measure speed, memory and cost beside other programs (as root, about an hour)
	$(BIN)/python -m tests.benchmarks $(ROWS) $(if $(SIZE_MB),--size-mb $(SIZE_MB)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FULL),--full)

.PHONY: clean
clean: ## remove the venv, caches and builds
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml tests/venv.sh
	@tests/venv.sh $(VENV) $(PYTHON)
	@touch $@
