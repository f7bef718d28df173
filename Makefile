# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-release
SCHEMA := $(TOOLS)/bin/check-jsonschema --quiet --builtin-schema
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow check format lint types layers browser docs pictures dist constraints \
	lint-release clean

$(VENV)/.demo: pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) -e '.[tiny,report,cpu]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.demo

$(TOOLS)/.made: packaging/tools.txt constraints.txt
	$(TOOLS)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -r packaging/tools.txt
	touch $@

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

dist: $(TOOLS)/.made ## wheel and sdist into dist/, checked
	rm -rf dist
	$(TOOLS)/bin/python -m build --no-isolation
	$(TOOLS)/bin/twine check --strict dist/*
	$(TOOLS)/bin/python packaging/check_distributions.py dist

constraints: $(TOOLS)/.made ## the newest versions that go together, for every Python and system
	$(TOOLS)/bin/uv pip compile --quiet --upgrade --universal --fork-strategy fewest \
		--python-version 3.11 --strip-extras --no-annotate --no-header \
		--extra dev pyproject.toml packaging/tools.txt --output-file constraints.new >/dev/null
	sed -n '/^#/p' constraints.txt | cat - constraints.new > constraints.both
	rm constraints.new
	mv constraints.both constraints.txt

lint-release: $(TOOLS)/.made ## workflows, Dockerfile, citation and forms; without network
	$(TOOLS)/bin/zizmor --offline --quiet --no-progress .github
	$(TOOLS)/bin/hadolint Dockerfile
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(SCHEMA) vendor.citation-file-format CITATION.cff

clean:
	rm -rf $(VENV) $(TOOLS)
