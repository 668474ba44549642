# make demo   set up and run the demonstration        make test   set up and run the tests (on 2 cores under 5 minutes)
# make test-all   the long statistical tests as well      WORKERS=8 of either: on 8 cores
# make lint   style and types      make doctest   examples in docstrings      make docs   build the documentation, and look for dead links
# make pages   after make docs: look for errors of every page in Chromium, with pictures in build/pages
# make mmim   train the MMIM example on generated data (a minute), with figures in build/mmim
# make bench-quick  a small benchmark of the default and six bounds on known truths (under 3 minutes), in build/bench; BOUNDS=… selects bounds
# make bench  what is missing from the committed results; resumes after an interruption
# make bench RESULTS=build/results  all results again (many hours)
# make attack  odd and hostile inputs in large numbers (an hour), with the table of docs/what-was-tried.csv
# make lowest  tests with the oldest versions of other packages that pyproject.toml allows (downloads 5 GB on Linux)
# make results  docs/results.md from the committed results, without running any of them
# make speed  ratios of time and memory, on an idle machine (an hour)

PYTHON ?= python3
WORKERS ?= 2
RESULTS ?=
OUTPUT = $(if $(RESULTS),--output $(RESULTS))
BOUNDS ?= ba cpc dv infonce mine nwj
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo mmim test test-all lowest attack lint doctest docs pages bench bench-quick results speed clean

demo: .venv/.ready
	$(PY) -m infomax demo

mmim: .venv/.ready
	rm -rf build/mmim
	$(PY) -m mmim_example generate build/mmim/data
	$(PY) -m mmim_example train build/mmim/run --data build/mmim/data
	$(PY) -m mmim_example evaluate build/mmim/run --data build/mmim/data --missing --truth build/mmim/data/truth.json

# A worker has one thread; it takes tests from the end of another's list when its own is done.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -q --numprocesses $(WORKERS) --dist worksteal --durations 10

test: .venv/.ready
	$(PYTEST)

test-all: .venv/.ready
	$(PYTEST) -m ""

# The lower ends of the ranges in pyproject.toml, in an environment of their own. Warnings of old packages are no errors.
lowest:
	python3.11 -m venv .venv-lowest
	.venv-lowest/bin/python -m pip --disable-pip-version-check install --quiet --requirement lowest.txt hatchling editables
	.venv-lowest/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q -W default --numprocesses $(WORKERS) --dist worksteal

attack: .venv/.ready
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(PY) -m attack --output docs/what-was-tried.csv

doctest: .venv/.ready
	$(PY) -m pytest --doctest-modules infomax

lint: .venv/.ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: .venv/.docs-ready
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(PY) docs/browse.py docs/_build/html
	@echo "docs/_build/html/index.html"

QUICK := 1v1-normal-0.75 1v1-additive-0.1 multinormal-dense-5-5-0.5 student-identity-3-3-2 \
	spiral-multinormal-sparse-3-3-2-2.0 1v1-X-0.9 channel-5-1 secret-2in50-1

pages:
	$(PY) docs/browse.py docs/_build/html --pictures build/pages
	$(PY) docs/browse.py docs/_build/html --pictures build/pages --dark

bench-quick: .venv/.ready
	$(PY) -m benchmarks.accuracy.known_mi --quick --tasks $(QUICK) --estimators default $(BOUNDS) gaussian ksg --n 1000 --seeds 1 --output build/bench
	$(PY) -m benchmarks.accuracy.staircase --quick --cases gaussian --critics separable --bounds $(BOUNDS) --output build/bench

bench: .venv/.ready
	$(PY) -m benchmarks.accuracy.gaussian $(OUTPUT)
	$(PY) -m benchmarks.accuracy.known_mi --estimators default --n 200 1000 10000 $(OUTPUT)
	$(PY) -m benchmarks.accuracy.default --quick --tasks beyond-normal --n 10000 --seeds 3 --no-tests $(OUTPUT)
	$(PY) -m benchmarks.accuracy.default $(OUTPUT)
	$(PY) -m benchmarks.accuracy.abroad $(OUTPUT)
	$(PY) -m benchmarks.accuracy.abroad --held-out $(OUTPUT)
	$(PY) -m benchmarks.accuracy.corrections $(OUTPUT)
	$(PY) -m benchmarks.accuracy.dependence $(OUTPUT)
	$(PY) -m benchmarks.accuracy.dependence_power $(OUTPUT)
	$(PY) -m benchmarks.accuracy.known_mi --n 1000 10000 $(OUTPUT)
	$(PY) -m benchmarks.accuracy.consistency $(OUTPUT)
	$(PY) -m benchmarks.accuracy.staircase $(OUTPUT)
	$(PY) -m benchmarks.speed.cost $(OUTPUT)
	$(PY) -m benchmarks.accuracy.contingency_tables $(OUTPUT)
	$(PY) -m benchmarks.accuracy.selection $(OUTPUT)
	$(PY) -m benchmarks.peers $(OUTPUT)  # last, because its environments need Python 3.11
	$(PY) -m benchmarks.accuracy.default --report $(OUTPUT)  # compares the default with them

results: .venv/.ready
	$(PY) -m benchmarks.summary

speed: .venv/.ready
	$(PY) -m benchmarks.speed $(OUTPUT)
	$(PY) -m benchmarks.speed.losses $(OUTPUT)  # last, because its environment needs Python 3.11

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
	rm -rf .venv build docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
