# Two commands: `make quickstart` and `make test`. Both install what is missing into .venv first.
#
# PIP_EXTRA_INDEX may name an index with CPU builds of torch (README, "Without a GPU").

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_ARGS := -c constraints.txt $(if $(PIP_EXTRA_INDEX),--extra-index-url $(PIP_EXTRA_INDEX))
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: quickstart test quick people lint types clean

quickstart: $(VENV)/quickstart.done
	$(BIN)/ilf compare nano

# Quick tests first; then the slow ones by stage, named with their minutes. Makes what `make people` makes.
test: $(VENV)/test.done
	@.ci/stages

quick: $(VENV)/test.done
	$(BIN)/pytest

# What tests with a real server and a real browser need: Label Studio (1 GB in the user's cache folder) and Chromium.
people: $(VENV)/test.done
	@.ci/people

lint: $(VENV)/test.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/test.done
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("ilf needs Python 3.11 to 3.13; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...") if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/quickstart.done: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e ".[quickstart]"
	@touch $@

$(VENV)/test.done: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e ".[test]"
	@touch $@ $(VENV)/quickstart.done

clean:
	rm -rf $(VENV) build dist
