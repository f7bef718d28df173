# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow check format lint types layers browser docs pictures clean

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[tiny,report,cpu]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## draw synthetic radiographs, extract, compare
	$(BIN)/cxrfeat demo

check: format lint types layers ## what `make test` runs before the tests

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

test: $(VENV)/.dev check
	$(BIN)/python -m pytest -n auto

browser: ## the browser that opens pages in the tests; on Debian, as root, where there is none yet
	@if command -v chromium || command -v chromium-browser; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			chromium fonts-liberation; \
	else echo "install the browser chromium; until then the tests that open pages are skipped"; fi

docs: $(VENV)/.dev ## the documentation, as pages that open without network: site/index.html
	$(BIN)/python -m sphinx -W --keep-going -q docs site

pictures: $(VENV)/.dev ## the pictures of the documentation, anew; needs `make browser`
	$(BIN)/python docs/pictures.py

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m slow

clean:
	rm -rf $(VENV)
