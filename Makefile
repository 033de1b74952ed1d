# Everything needs nothing but Python 3.11 or newer with pip: the virtual environment is made on first use.
PYTHON ?= python3
TORCH ?= 2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(TORCH)

.PHONY: demo test lint clean

demo: $(STAMP)  ## synthesise, prepare, train, evaluate, draw and predict in a few minutes
	$(BIN)/python examples/demo.py demo

test: $(STAMP) lint  ## all checks and tests
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/pyright
	$(BIN)/lint-imports

$(STAMP): pyproject.toml
	@echo "== making $(VENV) with torch $(TORCH); this takes a few minutes once =="
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install "torch==$(TORCH)"
	$(BIN)/python -m pip install --editable ".[dev]" "torch==$(TORCH)"
	@touch $@

clean:
	rm -rf $(VENV) demo build dist
