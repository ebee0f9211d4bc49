# Every target sets up what it needs in a local environment from hash-pinned requirements (wheels only).
PYTHON ?= python3
DEMO := .venv-demo
DEV := .venv
FUZZ := .venv-fuzz
LOWEST := .venv-lowest
DOCS := .venv-docs
MIGRATION := .venv-migration
JAVASCRIPT := tests/simnet/javascript
VERIFIER := verifier-js
PAGE := src/layer2/proofs/page/check-proofs.html
SECONDS ?= 20
SEED ?= 1
MUTANTS ?= 100000
NETWORK ?= simnet
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-input
# uv needs a tenth of pip's time. It comes with $(DEV), into which pip installs it first.
UV_INSTALL = $(DEV)/bin/uv pip install --quiet --no-deps --only-binary :all:
# Otherwise each of the many processes that are started compiles the libraries again.
unexport PYTHONDONTWRITEBYTECODE
SIDE_BY_SIDE = $(MAKE) --no-print-directory --jobs=2 --output-sync=target

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check docs fuzz chaos explore format pins contracts lowest installed packaged wheel clean
.PHONY: proof-mutants verifier-js page page-hash page-pictures system-packages
.PHONY: check-mypy check-basedpyright check-imports check-style check-english

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

demo: $(DEMO)/.ready ## move bitcoin both ways on an embedded network, prove it, and try to forge the proofs
	@$(DEMO)/bin/layer2 demo $(ARGS)

test: $(DEV)/.ready ## the whole suite, on simnet and, if Go is installed, on real nodes
	@$(DEV)/bin/python tools/run_tests.py $(ARGS)

coverage: $(DEV)/.ready ## the whole suite with branch coverage, which takes longer
	@$(DEV)/bin/python tools/run_tests.py --cov --cov-branch --cov-report=term:skip-covered $(ARGS)

system-packages: ## install Debian's packages that the tests use; does nothing if all are there
	@tools/install_system_packages.sh

# The longest first: they run side by side.
check: $(DEV)/.ready ## style, types, the import contract, and the English
	@$(SIDE_BY_SIDE) check-mypy check-basedpyright check-imports check-style check-english

check-mypy:
	$(DEV)/bin/mypy
check-basedpyright:
	$(DEV)/bin/basedpyright
check-imports:
	$(DEV)/bin/lint-imports
check-style:
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
check-english:
	$(DEV)/bin/python tools/check_english.py

packaged: $(DEV)/.ready ## what is made from the source: the wheel on two sets of dependencies, and the documentation
	@$(SIDE_BY_SIDE) lowest docs installed

docs: $(DOCS)/.ready ## build the documentation into dist/docs and dist/docs.tar.gz; a warning is an error
	@$(DOCS)/bin/python -m tools.docsite.build $(ARGS)

fuzz: $(FUZZ)/.ready ## fuzz every decoder of foreign bytes, each for SECONDS=20
	@$(FUZZ)/bin/python -m fuzz --seconds $(SECONDS) $(ARGS)

chaos: SECONDS = 600
chaos: $(DEV)/.ready ## random faults for SECONDS=600 from SEED=1 on NETWORK=simnet or devnet; nothing may be lost
	@PYTHONPATH=tests $(DEV)/bin/python -m chaos --seconds $(SECONDS) --seed $(SEED) --network $(NETWORK) $(ARGS)

explore: $(DEV)/.ready ## explore every state of a swap for all pairs of kinds, and remove each rule in turn
	@$(DEV)/bin/python -m layer2.testing.explore --mutants $(ARGS)

proof-mutants: $(DEV)/.ready ## remove each check of the verifier in turn, and change proofs MUTANTS=100000 times and at every byte
	@cd tests && PYTHONPATH=../src ../$(DEV)/bin/python -m vectors.removed_checks
	@cd tests && PYTHONPATH=../src ../$(DEV)/bin/python -m vectors.mutants $(MUTANTS)

verifier-js: $(VERIFIER)/dist/.ready ## build the verifier in TypeScript, and test it with the vectors
	@npm test --silent --prefix $(VERIFIER)

page: $(PAGE) ## build the page that checks proofs in a browser; it must have the committed hash
	@cd $(dir $(PAGE)) && sha256sum --check --quiet $(notdir $(PAGE)).sha256 \
		|| { echo "the page is not the one of the committed hash; if its sources have changed: make page-hash" >&2; exit 1; }

page-hash: $(PAGE) ## commit to the page as it is now: write its hash
	@cd $(dir $(PAGE)) && sha256sum $(notdir $(PAGE)) > $(notdir $(PAGE)).sha256

page-pictures: page ## take the pictures of the page for the documentation, in Chromium
	@cd $(VERIFIER) && npx tsc -p tsconfig.json && node build/browser/take-pictures.js

format: $(DEV)/.ready ## format the code
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

bench-proofs: bench-proof ## the same as bench-proof
	@:
bench-%: $(DEV)/.ready ## bench-NAME: run benchmarks/NAME.py; the last line is JSON
	@PYTHONPATH=tests $(DEV)/bin/python benchmarks/$*.py

contracts: $(DEV)/.ready ## compile the contracts
	$(DEV)/bin/python tools/compile_contracts.py

pins: $(DEV)/.ready ## renew the pinned requirements
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --extra provider --extra simnet pyproject.toml requirements/install.in -o requirements/demo.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --extra provider --extra simnet --extra postgres --extra temporal --constraint requirements/demo.txt \
		pyproject.toml requirements/dev.in -o requirements/dev.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --constraint requirements/demo.txt pyproject.toml requirements/fuzz.in -o requirements/fuzz.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --extra provider --extra simnet --constraint requirements/demo.txt \
		pyproject.toml requirements/docs.in -o requirements/docs.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --extra provider --extra simnet --constraint requirements/demo.txt \
		pyproject.toml requirements/migration.in -o docs/migration/requirements.txt
	$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--only-binary :all: --resolution lowest-direct --extra provider --extra simnet pyproject.toml -o requirements/lowest.txt

lowest: wheel $(LOWEST)/.ready ## run the demo with the lowest versions of dependencies that pyproject.toml allows
	@$(UV_INSTALL) --python $(LOWEST)/bin/python --reinstall dist/*.whl
	@$(LOWEST)/bin/python tools/import_everything.py
	@$(LOWEST)/bin/layer2 demo

installed: wheel ## run the demo from the wheel in a new environment, away from the source tree
	@away="$$(mktemp -d)"; trap 'rm -rf "$$away"' EXIT; set -e; \
		$(PYTHON) -m venv --without-pip "$$away/venv"; \
		$(UV_INSTALL) --python "$$away/venv/bin/python" --require-hashes -r requirements/demo.txt; \
		$(UV_INSTALL) --python "$$away/venv/bin/python" dist/*.whl; \
		cd "$$away"; venv/bin/layer2 proof page --no-open; venv/bin/layer2 demo

wheel: $(DEV)/.ready page ## build the wheel into dist/, with the page, which needs Node.js
	rm -f dist/*.whl && $(DEV)/bin/python -m build --wheel --no-isolation --outdir dist . >/dev/null

clean: ## remove the environments and what was built
	rm -rf $(DEMO) $(DEV) $(FUZZ) $(DOCS) $(LOWEST) $(MIGRATION) $(MIGRATION).lock $(JAVASCRIPT)/node_modules $(VERIFIER)/node_modules $(VERIFIER)/dist $(VERIFIER)/build $(PAGE) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(LOWEST)/.ready: requirements/lowest.txt | $(DEV)/.ready
	@echo "installing into $(LOWEST) (once) ..."
	@$(PYTHON) -m venv --clear --without-pip $(LOWEST)
	@$(UV_INSTALL) --python $(LOWEST)/bin/python --require-hashes -r requirements/lowest.txt
	@touch $@

$(DEMO)/.ready: requirements/demo.txt pyproject.toml
	@echo "installing into $(DEMO) (once) ..."
	@$(PYTHON) -m venv $(DEMO)
	@$(DEMO)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --only-binary :all: -r requirements/demo.txt
	@$(DEMO)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV)/.ready: requirements/dev.txt pyproject.toml
	@echo "installing into $(DEV) (once) ..."
	@$(PYTHON) -m venv $(DEV)
	@awk '/^uv==/, !/\\$$/' requirements/dev.txt \
		| $(DEV)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --only-binary :all: -r /dev/stdin
	@$(UV_INSTALL) --python $(DEV)/bin/python --require-hashes -r requirements/dev.txt
	@$(DEV)/bin/uv pip install --quiet --python $(DEV)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

$(FUZZ)/.ready: requirements/fuzz.txt pyproject.toml
	@echo "installing into $(FUZZ) (once) ..."
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --only-binary :all: -r requirements/fuzz.txt
	@$(FUZZ)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS)/.ready: requirements/docs.txt pyproject.toml | $(DEV)/.ready
	@echo "installing into $(DOCS) (once) ..."
	@$(PYTHON) -m venv --clear --without-pip $(DOCS)
	@$(UV_INSTALL) --python $(DOCS)/bin/python --require-hashes -r requirements/docs.txt
	@$(DEV)/bin/uv pip install --quiet --python $(DOCS)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

# The tests of the migration guide, which run in $(DEV), make this one when they first need it.
$(MIGRATION)/.ready: docs/migration/requirements.txt pyproject.toml
	@$(PYTHON) -m venv --clear --without-pip $(MIGRATION)
	@$(UV_INSTALL) --python $(MIGRATION)/bin/python --require-hashes -r docs/migration/requirements.txt
	@$(DEV)/bin/uv pip install --quiet --python $(MIGRATION)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

# The tests of simnet with JavaScript clients make this one when they first need it.
$(JAVASCRIPT)/node_modules/.ready: $(JAVASCRIPT)/package.json $(JAVASCRIPT)/package-lock.json $(JAVASCRIPT)/.npmrc
	@npm ci --silent --ignore-scripts --prefix $(JAVASCRIPT)
	@touch $@

$(VERIFIER)/node_modules/.ready: $(VERIFIER)/package.json $(VERIFIER)/package-lock.json $(VERIFIER)/.npmrc
	@npm ci --silent --prefix $(VERIFIER)
	@touch $@

# The tests that compare both verifiers make this one when they first need it.
$(VERIFIER)/dist/.ready: $(VERIFIER)/node_modules/.ready $(wildcard $(VERIFIER)/*.json $(VERIFIER)/src/*.ts $(VERIFIER)/src/*/*.ts $(VERIFIER)/page/*)
	@npm run --silent --prefix $(VERIFIER) build
	@touch $@

$(PAGE): $(VERIFIER)/dist/.ready
	@cp $(VERIFIER)/dist/page/$(notdir $(PAGE)) $@
