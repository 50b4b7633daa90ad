# The front door: make run | test | check | bench | wheel | clean. Everything happens in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Some tools start others by name.
export PATH := $(abspath $(BIN)):$(PATH)
# Modules of notify with a .pxd beside them are compiled as they stand.
TYPED := $(wildcard notify/*/*.pxd notify/*/*/*.pxd)
CORE := $(wildcard notify_core/*.pyx notify_core/*.pxd) $(TYPED) $(TYPED:.pxd=.py) setup.py pyproject.toml
STUB_SITE := build/stub-site
CORE_MODULES := $(patsubst notify_core/%.pyi,notify_core.%,$(wildcard notify_core/*.pyi))

.PHONY: help run servers test test-pure instructions check format bench bench-full bench-smoke wheel wheel-test clean

help:
	@echo "make run    the demo: a flash sale over the embedded Notify, under a minute"
	@echo "make test   the whole suite"
	@echo "make instructions  what the compiled core's hot functions cost, by callgrind"
	@echo "make check  format, lint, types, stubs, floors, Cython lint"
	@echo "make bench  benchmarks of some minutes, bench/REPORT.md and the table of README.md"
	@echo "make bench-full  the same for longer, and what takes its time"
	@echo "make bench-smoke  every stage for a moment, to see that it can be measured"
	@echo "make wheel  sdist and wheel into dist/, and the test of the wheel"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Notify needs Python 3.11 or later: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "No venv: install it first (Debian: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/run.stamp: $(BIN)/python $(CORE)
	@echo "Installing Notify and building its compiled core into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -c 'import notify_core; print("compiled core:", "yes" if notify_core.ACCELERATED else "no, running the pure twins (no C compiler or Python headers)")'
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python $(CORE)
	@echo "Installing Notify with its development tools into $(VENV) ..."
	@NOTIFY_REQUIRE_EXT=1 $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@ $(VENV)/run.stamp

run: $(VENV)/run.stamp
	@$(BIN)/notify demo

test: servers $(VENV)/dev.stamp
	$(BIN)/python -m pytest
	$(MAKE) test-pure

# The private servers of the tests: their programs are installed where that is allowed.
servers:
	@bash .ci/servers

# The suite runs compiled above; what touches the core runs over the pure twins as well, of the
# simulation the part that has everything in it.
PIPELINE := tests/simulation/test_pipeline.py::test_nothing_is_lost_by_kills_lost_queues_and_errors_anywhere
test-pure: $(VENV)/dev.stamp
	NOTIFY_PURE=1 $(BIN)/python -m pytest tests/core tests/simulation/test_faulty.py $(PIPELINE)

# `make test` compares them with their bounds; make instructions WRITE=--write renews these.
instructions: servers $(VENV)/dev.stamp
	$(BIN)/python -m tests.instructions $(WRITE)

check: $(VENV)/dev.stamp $(STUB_SITE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/cython-lint notify_core notify
	$(BIN)/mypy
	cd build && PYTHONPATH=stub-site ../$(BIN)/python -m mypy.stubtest $(CORE_MODULES)
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

BENCH := $(BIN)/python -m pytest --benchmark-only -p no:randomly --timeout=1800
bench: servers $(VENV)/dev.stamp
	$(BENCH) bench --scale=1 --benchmark-group-by=group \
		--benchmark-columns=median,min,max,ops,rounds --benchmark-json=bench/results/benchmarks.json
	$(BIN)/python -m bench.report --readme

bench-full: servers $(VENV)/dev.stamp
	$(BENCH) bench --scale=5 --benchmark-group-by=group \
		--benchmark-columns=median,min,max,ops,rounds --benchmark-json=bench/results/benchmarks.json
	$(BIN)/python -m bench.report --readme
	$(BIN)/python -m bench.isolation
	$(BIN)/python -m bench.rebalance
	$(BIN)/python -m bench.backlog
	$(BIN)/python -m bench.idle --workers 2
	$(BIN)/python -m bench.fsck_rows

# Its figures say nothing and are not kept.
bench-smoke: servers $(VENV)/dev.stamp
	$(BENCH) bench/test_stages.py --scale=0.02 --results=build/bench-smoke -q

wheel: $(VENV)/dev.stamp
	rm -rf dist
	NOTIFY_REQUIRE_EXT=1 $(BIN)/python -m build --quiet
	@ls -l dist

wheel-test: wheel
	$(BIN)/python tests/packaging/check_wheel.py dist

# The core alone, away from its sources, for the comparison with its stubs.
$(STUB_SITE): $(VENV)/dev.stamp $(wildcard notify_core/*.pyi)
	rm -rf $(STUB_SITE)
	mkdir -p $(STUB_SITE)
	cp -R notify_core $(STUB_SITE)

clean:
	rm -rf build dist *.egg-info $(VENV) .coverage .hypothesis .benchmarks
	rm -f notify_core/*.so notify/*/*.so notify/*/*/*.so
