# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.PHONY: demo test lint format bench clean help

help:
	@echo "make demo    build the sample library and answer a question from it"
	@echo "make test    run the tests"
	@echo "make lint    check style and types"
	@echo "make bench   run every benchmark (long; needs ../shared/data)"

demo: $(READY)
	$(BIN)/matlit demo

test: $(READY_DEV)
	$(BIN)/python -m pytest

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY_DEV)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build *.egg-info

# torch goes first and alone: where a CPU build of that version is at hand, pip takes it instead of a CUDA build.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet torch -c constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(READY_DEV): $(READY)
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	touch $@
