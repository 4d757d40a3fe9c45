# The one front door. `make` lists the targets.
#
#   make test ARGS="tests/unit -k fd"       arguments for pytest
#   make test RUNS="root user"              some of the runs: root user vm-root vm-user
#   make demo PYTHON=python3.13             another interpreter for .venv

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
SHELL := /bin/bash

python := .venv/bin/python
ARGS ?=
RUNS ?= root user vm-root vm-user
SECONDS ?= 60
export PYTHON

.PHONY: help demo test test-host test-vm check sanitize fuzz bench docs build native format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## show in a minute what the library does, on this machine
	@tools/setup.sh run
	@$(python) examples/demo.py

test: ## the whole suite, four times: root and ordinary user, here and on a cgroup v2 machine
	@tools/setup.sh dev
	@$(python) tools/run_tests.py $(RUNS) -- $(ARGS)

test-host: RUNS = root user
test-host: test ## the suite here, as root and as an ordinary user

test-vm: RUNS = vm-root vm-user
test-vm: test ## the suite in a virtual machine that has only cgroup v2, as root and as an ordinary user

check: ## format, lint, types, layers, sizes, symbols, words: all but the tests
	@tools/setup.sh dev
	@$(python) tools/check.py

sanitize: ## the C code: analyzers, and the suite as root with it under AddressSanitizer and UBSan
	@tools/setup.sh sanitize
	@$(python) tools/sanitize.py

fuzz: ## try inputs on all that reads what others wrote; a minute for each of its tests, SECONDS=600 for longer
	@tools/setup.sh fuzz
	@$(python) tools/fuzz.py --seconds $(SECONDS) $(ARGS)

format: ## bring the code into the form that `make check` asks for
	@tools/setup.sh dev
	@$(python) -m ruff check --quiet --fix-only . && $(python) -m ruff format .

bench: ## measure against the floor (a C program making the same system calls)
	@tools/setup.sh run
	@$(python) -m benchmarks $(ARGS)

docs: ## the documentation as a site in site/
	@tools/setup.sh docs
	@$(python) -m mkdocs build --quiet --strict --clean && echo "site/index.html"

build: ## source archive and wheel in dist/
	@tools/setup.sh dev
	@$(python) -m build --no-isolation --outdir dist . >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	@rm -f build.log; ls dist/*

native: ## only the native parts, in place
	@tools/setup.sh native

clean: ## remove what was made: build results, caches, .venv
	rm -rf .venv .setup.lock build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf pycontainer/_native*.so pycontainer/_native.[co] pycontainer/kernel/programs
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
