# Targets that call the real tools. `make` alone says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard fastpath/*.pyx fastpath/*.pxd fastpath/*.h)

.PHONY: help run test check debug bench conformance differential clean

help:
	@echo "make run          build, start Fanway with the example origin, print one URL and one curl line"
	@echo "make test         the whole suite, on the release build and on the debug build"
	@echo "make check        ruff, the strict type checker, cython-lint"
	@echo "make debug        the suite on the debug build alone (bounds checks, balanced books)"
	@echo "make bench        the macro benchmarks; figures go to bench_results/"
	@echo "make conformance  Autobahn's WebSocket suite (needs Python 2.7); writes docs/conformance.md"
	@echo "make differential the conversations with Debian's Pushpin; writes docs/compatibility.md"
	@echo "make clean        remove what the others made"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Fanway needs Python 3.11 or newer (PYTHON=... chooses one)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install python3-venv"; exit 1; }

# The dependencies, and the two planes in place; nothing is fetched again while pyproject.toml rests.
$(VENV)/installed: pyproject.toml | $(BIN)/python
	@$(BIN)/pip install -q --upgrade pip "setuptools>=80" "cython>=3.3,<4"
	$(BIN)/pip install -q --no-build-isolation -e ".[dev]"
	@touch $@

build/release.done: $(SOURCES) $(VENV)/installed
	$(BIN)/python setup.py -q build_ext --inplace
	@mkdir -p build && touch $@

build/debug.done: $(SOURCES) $(wildcard control/*.py control/*/*.py fastpath/*.py) $(VENV)/installed
	FASTPATH_DEBUG=1 $(BIN)/python setup.py -q build --build-base build/debug-base --build-lib build/debug
	@mkdir -p build && touch $@

# The npm packages among the tested clients. Without npm their tests are skipped, and say so.
tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json
	@if command -v npm >/dev/null; then cd tests/clients && npm ci --no-audit --no-fund; fi

run: build/release.done
	$(BIN)/fanway demo

test: build/release.done debug tests/clients/node_modules/.package-lock.json
	$(BIN)/pytest -q

debug: build/debug.done tests/clients/node_modules/.package-lock.json
	PYTHONPATH=$(CURDIR)/build/debug $(BIN)/pytest -q

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" $(BIN)/cython-lint fastpath

bench: build/release.done
	$(BIN)/python -m benchmarks.macro

conformance: build/release.done
	PYTHONPATH=tests $(BIN)/python -m conformance

differential: build/release.done
	PYTHONPATH=tests $(BIN)/python -m differential

clean:
	rm -rf build *.egg-info fastpath/*.so fastpath/*.c tests/clients/node_modules
