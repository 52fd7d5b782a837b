# The fixed commands. Each sets up what it needs: uv where it is missing, then the locked dependencies.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# A distribution's own Python is built with every optimisation; a hand-built one first on the PATH may run at less than
# two thirds of its speed (docs/decisions/0005).
UV_PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3)
ifneq ($(strip $(UV_PYTHON)),)
export UV_PYTHON
endif

# Trust whom the machine trusts, where it says whom: companies and test machines have certificate authorities of their own.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS ?= true
endif

# Who keeps Python from writing down what it has compiled pays for it at each start, and tests start hundreds of
# processes: 2.4 s instead of 1.1 s each.
unexport PYTHONDONTWRITEBYTECODE

UV = $$(sh tools/uv.sh)
RUN = $(UV) run --frozen --no-sync

.PHONY: help run test check bench bench-full chaos setup

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST) | while read name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

setup:
	@$(UV) sync --frozen --quiet

run: ## Start Countwheel on http://127.0.0.1:8080, database included
	@$(UV) sync --frozen --quiet --no-dev
	@exec $(RUN) countwheel dev

test: setup ## Run every test
	@$(RUN) pytest -n 4 --dist worksteal

check: setup ## Lint, format, types, layers
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) lint-imports

chaos: setup ## Nodes under faults, judged by an independent checker (SECONDS=300, SEED=)
	@$(RUN) python -m chaos --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))

bench: setup ## Measure: a short form of every row of docs/benchmarks.md but the peers
	@$(RUN) python -m benchmarks short

bench-full: setup ## Measure every row at full length, into benchmarks/results
	@$(RUN) python -m benchmarks.peers.install
	@$(RUN) python -m benchmarks full
