# Every target sets up what it needs in a local environment from hash-pinned requirements (wheels only).
PYTHON ?= python3
DEMO := .venv-demo
DEV := .venv
FUZZ := .venv-fuzz
SECONDS ?= 20
SEED ?= 1
NETWORK ?= simnet
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz chaos format pins contracts wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

demo: $(DEMO)/.ready ## move bitcoin both ways on an embedded network, prove it, and try to forge the proofs
	@$(DEMO)/bin/layer2 demo $(ARGS)

test: $(DEV)/.ready ## the whole suite, on simnet and, where Go is present, on real nodes
	@$(DEV)/bin/python tools/run_tests.py $(ARGS)

check: $(DEV)/.ready ## style, types, and the import contract
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/basedpyright
	$(DEV)/bin/lint-imports

fuzz: $(FUZZ)/.ready ## fuzz every decoder of foreign bytes, each for SECONDS=20
	@$(FUZZ)/bin/python -m fuzz --seconds $(SECONDS) $(ARGS)

chaos: SECONDS = 600
chaos: $(DEV)/.ready ## random faults for SECONDS=600 from SEED=1 on NETWORK=simnet or devnet; nothing may be lost
	@PYTHONPATH=tests $(DEV)/bin/python -m chaos --seconds $(SECONDS) --seed $(SEED) --network $(NETWORK) $(ARGS)

explore: $(DEV)/.ready ## explore every state of a swap for all pairs of kinds, and remove each rule in turn
	@$(DEV)/bin/python -m layer2.testing.explore --mutants $(ARGS)

format: $(DEV)/.ready ## format the code
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

bench-%: $(DEV)/.ready ## bench-NAME: run benchmarks/NAME.py; the last line is JSON
	@$(DEV)/bin/python benchmarks/$*.py

contracts: $(DEV)/.ready ## compile the contracts anew
	$(DEV)/bin/python tools/compile_contracts.py

pins: $(DEV)/.ready ## renew the pinned requirements
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --extra provider --extra simnet pyproject.toml requirements/install.in -o requirements/demo.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --extra provider --extra simnet --constraint requirements/demo.txt \
		pyproject.toml requirements/dev.in -o requirements/dev.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --constraint requirements/demo.txt pyproject.toml requirements/fuzz.in -o requirements/fuzz.txt

wheel: $(DEV)/.ready ## build the wheel into dist/
	rm -rf dist && $(DEV)/bin/python -m build --wheel --no-isolation --outdir dist . >/dev/null

clean: ## remove the environments and what was built
	rm -rf $(DEMO) $(DEV) $(FUZZ) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(DEMO)/.ready: requirements/demo.txt pyproject.toml
	@echo "installing into $(DEMO) (once) ..."
	@$(PYTHON) -m venv $(DEMO)
	@$(DEMO)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --only-binary :all: -r requirements/demo.txt
	@$(DEMO)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV)/.ready: requirements/dev.txt pyproject.toml
	@echo "installing into $(DEV) (once) ..."
	@$(PYTHON) -m venv $(DEV)
	@$(DEV)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(DEV)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(FUZZ)/.ready: requirements/fuzz.txt pyproject.toml
	@echo "installing into $(FUZZ) (once) ..."
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --only-binary :all: -r requirements/fuzz.txt
	@$(FUZZ)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
