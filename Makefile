# The one task runner: the same words on a laptop and in the continuous checks.
# `make help` lists them. Set-up runs when it is needed and only then: each kind of
# environment leaves a stamp in $(VENV), which is renewed when pyproject.toml or
# constraints.txt changes.
#
#   make PYTHON=/path/to/python3.12 test     another interpreter (3.11 to 3.13)
#   make VENV=/tmp/env test                  another place for the environment
#   make test ARGS="-k pause"                more words for pytest

VENV ?= .venv
DIST ?= dist
JOBS ?= 2
ARGS ?=

# The first interpreter that is new enough, not too new, and can make environments.
ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	>/dev/null 2>&1; then echo "$$python"; break; fi; done)
endif

PACKAGES := hyperion_tui engines simulator
CODE := $(wildcard $(PACKAGES) tests scripts bench)
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
PYTEST := $(BIN)/python -m pytest

# One thread a process: the tests run several at once.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help check format format-check lint types imports test slow torture torture-short bench \
	wheel snap keys pictures demo constraints clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- environments ------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 with venv found; install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "making the environment $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv "$(VENV)"

# What people use: the core, without extras.
$(VENV)/.ready-core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Hyperion into $(VENV) (about 650 MB; a minute or two)"
	@$(PIP_INSTALL) -e .
	@touch $@

# What developers and the tests use: every extra and the tools.
$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Hyperion with every extra and the tools into $(VENV) (about 2.3 GB; some minutes)"
	@$(PIP_INSTALL) -e '.[all,dev]'
	@touch $(VENV)/.ready-core $@

# --- for people --------------------------------------------------------------------

demo: $(VENV)/.ready-core  ## tune four models on a real data set, in a store of its own
	@scripts/demo "$(BIN)"

# --- for developers ----------------------------------------------------------------

check: format-check lint types imports test  ## all that a change must pass

format: $(VENV)/.ready-dev  ## rewrite the code in the one format
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --select I --fix --quiet $(CODE)

format-check: $(VENV)/.ready-dev  ## say which files `make format` would change
	@$(BIN)/ruff format --check $(CODE)

lint: $(VENV)/.ready-dev  ## ruff's rules
	@$(BIN)/ruff check $(CODE)

types: $(VENV)/.ready-dev  ## mypy: strict below the screens, normal in them
	@$(BIN)/mypy $(PACKAGES)

imports: $(VENV)/.ready-dev  ## the import rules: arrows point down, declarations stay light
	@$(BIN)/lint-imports

test: $(VENV)/.ready-dev  ## set up if needed, then run the tests (not the slow ones, no torture)
	@$(PYTEST) -m "not slow and not torture" -n $(JOBS) --dist worksteal $(ARGS)

# Exit code 5 is pytest's "none selected", which ARGS="-k ..." may mean.
slow: $(VENV)/.ready-dev  ## run the slow tests
	@$(PYTEST) -m slow -n $(JOBS) --dist worksteal $(ARGS) || { code=$$?; test $$code -eq 5; }

torture-short: $(VENV)/.ready-dev  ## kill, stop and starve real processes, for a minute or two
	@$(PYTEST) tests/torture -m torture -n $(JOBS) --dist worksteal $(ARGS)

# A cell that has passed is kept in build/torture/, so a run that was cut off goes on.
torture: $(VENV)/.ready-dev  ## the long form, 1,000 kills (CELLS=20 SEED=1); resumes
	@nice -n 10 $(BIN)/python -m tests.torture --cells $(or $(CELLS),20) --seed $(or $(SEED),1) $(ARGS)

snap: $(VENV)/.ready-dev  ## take the pictures of screens again (look at the difference!)
	@HYPERION_SNAPSHOTS=update $(PYTEST) tests/tui $(ARGS)

pictures: $(VENV)/.ready-dev  ## take the pictures of the README again: some minutes of tuning
	@$(BIN)/python scripts/pictures.py

keys: $(VENV)/.ready-dev  ## write docs/keys.md, every key of the program
	@$(BIN)/python scripts/keys.py

bench: $(VENV)/.ready-dev  ## run the benchmarks, or one: make bench ONLY=name
	@for file in bench/$(or $(ONLY),[a-z]*).py; do \
		echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; done

wheel: $(VENV)/.ready-dev  ## build the wheel, install it in a clean environment, start it from /
	@rm -rf "$(DIST)"
	@$(BIN)/python -m build --outdir "$(DIST)" >/dev/null
	@$(BIN)/python scripts/check_wheel.py "$(DIST)"

constraints: $(BIN)/python  ## write constraints.txt anew from the newest versions allowed
	@$(BIN)/python scripts/freeze_constraints.py

clean:  ## remove the environment, builds and caches
	@rm -rf "$(VENV)" "$(DIST)" build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
