# make demo   learn depth from generated images alone, reconstruct a held-out scene, and say where the results lie
# make demo-indoor   the same for rooms: learn surfaces from generated video alone, and mesh rooms held out
# make bench  how fast and how small, beside plain code and the machine's limits, and against the last recorded results
# make test   style, import floors and tests
# Each sets up .venv first. PYTHON chooses the interpreter: make PYTHON=python3.12 test

# Threads that wait let others run: on a machine with other work, spinning ones make training several times slower.
export OMP_WAIT_POLICY ?= PASSIVE

PYTHON ?= python3
VENV := .venv
IN := $(VENV)/bin
PIP_INSTALL := $(IN)/python -m pip install --disable-pip-version-check -c requirements/constraints.txt
SETUP := setup.py requirements/runtime.txt requirements/constraints.txt

.PHONY: demo demo-indoor bench test check format docs clean

demo: $(VENV)/.runtime
	$(IN)/python tools/demo.py --out demo

demo-indoor: $(VENV)/.runtime
	$(IN)/python tools/demo_indoor.py --out demo_indoor

bench: $(VENV)/.runtime
	$(IN)/python tools/benchmark.py all --rounds 3

test: $(VENV)/.tests check
	$(IN)/python -m pytest

check: $(VENV)/.tests
	$(IN)/ruff check .
	$(IN)/ruff format --check .
	$(IN)/lint-imports

format: $(VENV)/.tests
	$(IN)/ruff check --fix .
	$(IN)/ruff format .

docs: $(VENV)/.docs
	$(IN)/python -m mkdocs build --strict -f - < docs/mkdocs.yml

clean:
	rm -rf $(VENV) demo demo_indoor build *.egg-info

# The stamps are newer than the files they depend on once an installation has succeeded. pip does not depend on them:
# it adds to an environment that already satisfies most of what is asked.
$(VENV)/.runtime: $(SETUP) tools/check_system.py
	$(PYTHON) tools/check_system.py
	test -x $(IN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.tests: $(VENV)/.runtime requirements/tests.txt
	$(PIP_INSTALL) -e .[tests]
	touch $@

$(VENV)/.docs: $(VENV)/.runtime requirements/docs.txt
	$(PIP_INSTALL) -e .[docs]
	touch $@
