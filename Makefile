# One command each; all of them set up .venv first, once, and again when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := runs/quickstart-data

.PHONY: help setup test check format quickstart clean

help:
	@echo "make test        set up .venv and run the tests"
	@echo "make check       lint, format check, types"
	@echo "make quickstart  make a small synthetic data set, search, write the report, predict masks"
	@echo "make format      rewrite the sources as the formatter wants them"
	@echo "make setup       only set up .venv (PYTHON=python3.12 to choose the interpreter)"
	@echo "make clean       remove .venv and what the tools left behind"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"scribble-search needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: $(READY)

test: $(READY)
	$(BIN)/python -m pytest -n auto

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quickstart: $(READY)
	test -d $(DEMO) || $(BIN)/python -m trainable synthesize $(DEMO) --images 40 --test 8 --size 160x128 --seed 0
	$(BIN)/python -m trainable doctor $(DEMO)
	$(BIN)/python -m search launch quickstart
	$(BIN)/python -m analysis report quickstart
	$(BIN)/python -m analysis ensemble quickstart
	$(BIN)/python -m analysis predict runs/quickstart/analysis/ensemble $(DEMO)/test1 --out runs/quickstart/masks
	@echo "Masks of the test images: runs/quickstart/masks"
	@echo "The interactive report, for any browser: file://$(CURDIR)/runs/quickstart/analysis/report.html"

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
