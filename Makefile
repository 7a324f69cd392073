# `make demo` shows the main job; `make test` is what CI runs.
PYTHON ?= python3
BIN := .venv/bin
# Work trees are not always writable by whoever set this; here bytecode is wanted.
unexport PYTHONDONTWRITEBYTECODE

# What decides on a call: every branch of it has a test.
DECIDES := toolrt/gate.py,toolrt/registry.py,toolrt/builder.py,toolrt/dispatch.py,toolrt/direct.py,toolrt/admit.py,toolrt/standing.py,toolrt/asking.py,toolrt/settle.py,toolrt/prepare.py,toolrt/build.py,toolrt/capability.py,toolrt/limits.py,toolrt/middleware.py,toolrt/secrets.py,toolrt/cursor.py,toolrt/ucan/*.py

# Where benchmarks leave their figures.
LATEST := .benchmarks/latest

.PHONY: help demo test lint types hostile fuzz-tokens store-faults bench bench-check bench-peers bench-growth bench-record bench-ten-million completions clean

help:
	@echo "make demo         set up .venv and run the main job on real input"
	@echo "make test         lint, types, layers and the whole test suite"
	@echo "make hostile      500 hostile tools, some at once"
	@echo "make fuzz-tokens  a million mutants of delegation tokens"
	@echo "make store-faults 1,000 random edits, 10,000 kills, 16 writers at once"
	@echo "make bench        every figure beside the cheapest that does the work; RECORD=1 keeps it"
	@echo "make bench-peers  the same work done by other tools and libraries"
	@echo "make bench-growth how costs grow with packs, rules, threads and events"
	@echo "make bench-record the three above, kept under benchmarks/runs/"
	@echo "make bench-check  a fresh make bench against the last run that was kept"
	@echo "make bench-ten-million DIR=directory  the figures of a store of that size"
	@echo "make completions  write the shell completions again"

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/ready: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@

demo: .venv/installed
	examples/quickstart/demo.sh

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --config pyproject.toml

types: .venv/ready
	$(BIN)/mypy

test: lint types
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report
	$(BIN)/coverage report --include=$(DECIDES) --fail-under=100

hostile: .venv/ready
	TOOLRT_HOSTILE=500 $(BIN)/python -m pytest tests/faults/test_hostile_tools.py

fuzz-tokens: .venv/ready
	TOOLRT_TOKENS=1000000 $(BIN)/python -m pytest -s tests/property/test_token_mutants.py

store-faults: .venv/ready
	TOOLRT_TAMPER=1000 $(BIN)/python -m pytest -s tests/store/test_tampering.py
	TOOLRT_KILLS=10000 TOOLRT_WRITES=500 $(BIN)/python -m pytest -s tests/faults/test_store_kills.py
	TOOLRT_STEPS=50 $(BIN)/python -m pytest tests/property/test_store_model.py

bench: .venv/ready
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-columns=min,median,rounds --figures $(LATEST)/figures.json
	$(if $(RECORD),$(BIN)/python benchmarks/record.py $(LATEST))

bench-check: bench
	$(BIN)/python benchmarks/check.py $(LATEST)/figures.json $(if $(STRICT),--strict)

bench-peers: .venv/ready
	$(BIN)/python benchmarks/run_peers.py --into $(LATEST)/peers.json

bench-growth: .venv/ready
	$(BIN)/python benchmarks/growth.py --into $(LATEST) $(if $(EVENTS),--events $(EVENTS))

bench-ten-million: .venv/ready
	@test -n "$(DIR)" || { echo "usage: make bench-ten-million DIR=directory [EVENTS=n]"; exit 2; }
	$(BIN)/python benchmarks/ten_million.py $(DIR) $(EVENTS) --into $(LATEST)/ten_million.json

bench-record: bench bench-peers bench-growth
	$(BIN)/python benchmarks/record.py $(LATEST)

completions: .venv/installed
	$(BIN)/python -m toolrt_cli.completion completions

clean:
	rm -rf .venv dist build .coverage .mypy_cache .pytest_cache .ruff_cache
