# make demo and make test build their own environment first; nothing else is needed than make and Python 3.11+.

# The first of these that runs and is recent enough; override with `make PYTHON=/path/to/python venv`.
PYTHON ?= $(firstword $(foreach p,python3 python python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: help venv demo test check bench-encode

help:
	@echo "make demo    ask questions of the Python reference, through LangChain and LlamaIndex"
	@echo "make test    run every test"
	@echo "make check   the whole gate: format, lint, types, import contracts, tests"
	@echo "make bench-encode   print the encoder beside its peers"
	@echo "make venv    only build the environment in .venv"

venv: $(STAMP)

# torch comes first: its pinned build decides what every later package may ask for.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: install one, or name it with make PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/reasonembed demo

test: $(STAMP)
	$(BIN)/python -m pytest

check:
	.ci/run

bench-encode: $(STAMP)
	$(BIN)/python benchmarks/encode.py
