# make demo   set up and run the demonstration        make test   set up and run the tests
# make lint   style and types      make doctest   examples in docstrings      make docs   build the documentation
# make bench  the committed figures against known truths (about half an hour)

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint doctest docs bench clean

demo: .venv/.ready
	$(PY) -m infomax demo

test: .venv/.ready
	$(PY) -m pytest

doctest: .venv/.ready
	$(PY) -m pytest --doctest-modules infomax

lint: .venv/.ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: .venv/.docs-ready
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: .venv/.ready
	$(PY) -W ignore -m benchmarks.gaussian
	$(PY) -m benchmarks.cost

# The build tools come first and pinned, so that the editable install needs no isolated (unpinned) build.
.venv/.ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; got " + sys.version)'
	@echo "Setting up .venv (a few minutes the first time) ..."
	$(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0 hatchling editables
	$(PIP) --no-build-isolation --editable '.[test,lint]'
	@touch $@

.venv/.docs-ready: .venv/.ready
	$(PIP) --no-build-isolation --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
