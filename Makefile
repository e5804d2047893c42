# Doorlist: make setup | demo | test | check | bench | bench-scim | bench-scim-million | soak | soak-scim | clean   (PYTHON=python3.13 picks another)

PYTHON ?= python3
ONCE ?=
# How many processes share the tests, each with servers of its own: two more than there are processors, since each waits for its servers now
# and then (with as many as processors, a tenth to a third of these stood still; with two more, none); six at most.
TOGETHER ?= $(shell n=$$(nproc 2>/dev/null || echo 1); [ $$n -gt 4 ] && n=4; echo $$((n + 2)))

# Where tests keep their files, and that only those of failed ones stay. Shows and benchmarks are timed, so they keep to the disk.
# Bytecode is written whatever the environment says: else each process that a test starts would compile all of it anew.
QUICKLY = TMPDIR=$$(.ci/room) PYTHONDONTWRITEBYTECODE=
KEPT := -o tmp_path_retention_policy=failed
# A module stays in one process, with what it arranges for all of its tests. Those of few tests are often the long ones, so that
# they are not left to the end. (Groups are not heeded with pytest 9.2: https://github.com/pytest-dev/pytest-xdist/issues/1386)
BY_MODULE := --dist loadfile --no-loadscope-reorder

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := .venv/bin
READY := .venv/.ready-$(VERSION)
SYNAPSE_LOCK := tests/servers/synapse.lock
SYNAPSE_READY := .synapse/.ready-$(VERSION)

# A Python without ensurepip (Debian splits it off) still makes the environment; its own pip then fills it.
# An environment of another Python's is emptied first, one of this Python's is brought up to date in place.
make_environment = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Doorlist needs Python 3.11 or later")' \
	&& { [ ! -d $(1) ] || [ -e $(1)/.ready-$(VERSION) ] || $(PYTHON) -m venv --clear --without-pip $(1); } \
	&& { $(PYTHON) -m venv $(1) >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip $(1); }
install = $(PYTHON) -m pip --python $(1)/bin/python install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup synapse servers demo test lint fast check bench bench-scim bench-scim-million soak soak-scim lock clean

help:
	@sed -n '1s/^# //p' Makefile

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "setup: installing what requirements.lock names into .venv"
	@$(call make_environment,.venv)
	@$(call install,.venv) --require-hashes -r requirements.lock
	@$(call install,.venv) --no-deps --no-build-isolation --editable .
	@touch $@

synapse: $(SYNAPSE_READY)

$(SYNAPSE_READY): $(SYNAPSE_LOCK)
	@echo "synapse: installing Matrix Synapse into .synapse"
	@$(call make_environment,.synapse)
	@$(call install,.synapse) --require-hashes -r $(SYNAPSE_LOCK)
	@touch $@

servers:
	@.ci/servers

demo: setup synapse
	@ONCE=$(ONCE) $(BIN)/python -m tests.journeys.demo

test: setup synapse servers
	$(QUICKLY) $(BIN)/pytest $(KEPT) -n $(TOGETHER) $(BY_MODULE) -m "not soak"

lint: setup
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Beside each other: a first mypy takes as long as a third of the tests.
check: setup
	@$(MAKE) --no-print-directory --jobs=2 lint fast

fast: setup
	$(QUICKLY) $(BIN)/pytest $(KEPT) -n auto $(BY_MODULE) -m "not synapse and not postgres and not idp and not browser and not ldap and not soak and not slow"

bench: setup synapse servers
	$(BIN)/python -m tests.benchmarks

# Needs node, npm and taskset as well; without npm the other servers are left out, and the table says so.
bench-scim: setup servers
	$(BIN)/python -m tests.benchmarks.scim

bench-scim-million: setup servers
	$(BIN)/python -m tests.benchmarks.scim.million

soak: setup synapse servers
	$(BIN)/pytest -m soak -s

soak-scim: setup servers
	$(BIN)/python -m tests.benchmarks.scim.together

# Needs uv; a lock then holds for every Python from 3.11 on and every system. That of the image is the part of it that runs.
lock_what = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --quiet pyproject.toml --extra build

lock:
	$(lock_what) --extra dev -o requirements.lock
	$(lock_what) --constraint requirements.lock -o image.lock

clean:
	rm -rf .venv .synapse .idps .demo .bench .soak build dist *.egg-info \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
