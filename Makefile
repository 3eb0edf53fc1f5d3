# Everything a person or CI runs. Each target installs what it needs and does nothing twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATIC := service/src/gradvitals_service/static
WEB_SOURCES := $(shell find service/web -type f -not -path '*/node_modules/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-python test-web soak lint types bench clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(VENV)/installed $(STATIC)/index.html ## make .venv with both commands in it, and build the web page

$(VENV)/installed: constraints.txt client/pyproject.toml service/pyproject.toml requirements-dev.txt scripts/install
	@PYTHON=$(PYTHON) scripts/install $(VENV)
	@touch $@

$(STATIC)/index.html: $(VENV)/installed $(WEB_SOURCES)
	@scripts/build-web $(VENV)

demo: install ## train the GRU with and without clipping and watch it; ARGS=--exit ends by itself
	@$(BIN)/gradvitals-service demo $(ARGS)

test: test-web test-python ## every test

test-python: install
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-web: install
	@scripts/with-node $(VENV) npm --prefix service/web run --silent check
	@scripts/with-node $(VENV) npm --prefix service/web run --silent test

soak: install ## the tests of faults in large counts, and what they counted; takes hours
	@$(BIN)/python -m pytest -m soak -rP $(ARGS)

lint: $(VENV)/installed ## ruff, its formatter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/installed ## mypy, strict, on both packages and the benchmarks
	@$(BIN)/mypy -p gradvitals -p gradvitals_service -p benchmarks

bench: install ## every benchmark; JSON to benchmarks/out
	@for question in $$(grep -l __main__ benchmarks/*.py); do \
		$(BIN)/python -m benchmarks.$$(basename $$question .py) || exit 1; done
	@$(BIN)/python -m benchmarks.page

clean: ## remove what the other targets made
	rm -rf $(VENV) $(STATIC) service/web/node_modules benchmarks/out dist .pytest_cache .mypy_cache .ruff_cache
