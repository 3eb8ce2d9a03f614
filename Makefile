# `make help` lists the commands. Each does its own set-up, once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

# parameters of the study, given on the command line: strings go to papermill by -r, numbers by -p; an empty one keeps the page's default
ARCH := mlp
DATASET := fashion_mnist
PRESET := quick
OUT = out/$(ARCH)-$(DATASET)-$(PRESET)
ALGORITHMS :=
DEVICE :=
SCHEDULER :=
SEEDS :=
WIDTH :=
N_TRAIN :=
JOBS :=
STRINGS := ARCH DATASET PRESET OUT ALGORITHMS DEVICE SCHEDULER
NUMBERS := SEEDS WIDTH N_TRAIN JOBS
lower = $(shell echo '$1' | tr A-Z a-z)
passed = $(foreach v,$2,$(if $($v),$1 $(call lower,$v) '$($v)'))

# a mistyped NAME=value is refused, not ignored
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
UNKNOWN := $(filter-out $(STRINGS) $(NUMBERS) PYTHON,$(GIVEN))
$(if $(UNKNOWN),$(error there is no parameter $(UNKNOWN); there are $(STRINGS) $(NUMBERS) PYTHON))

.PHONY: help setup data reproduce results gallery test export docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo 'parameters of reproduce: $(STRINGS) $(NUMBERS)'

setup: $(READY)  ## the environment: .venv with every requirement
$(READY): constraints.txt settings.ini setup.py
	@PYTHON='$(PYTHON)' bash tools/setup_venv.sh
	@touch $@
# a checkout that was moved or copied makes its own environment
ifeq ($(shell grep -F "$$(pwd -P)/.venv/bin" .venv/bin/papermill 2>/dev/null),)
.PHONY: $(READY)
endif

data:  ## Fashion-MNIST
	@bash tools/get_data.sh

reproduce: $(READY) $(if $(filter fashion_mnist,$(DATASET)),data)  ## the whole study, as in: make reproduce ARCH=resnet18 PRESET=paper
	@mkdir -p '$(OUT)'
	$(BIN)/papermill nbs/reproduce.ipynb '$(OUT)/reproduce.ipynb' -k python3 --no-progress-bar --log-output $(call passed,-r,$(STRINGS)) $(call passed,-p,$(NUMBERS))

KEPT := nbs/results/$(ARCH)-$(DATASET)-$(PRESET)
results:  ## keep the claims, small tables and figures of the last run beside the pages
	mkdir -p $(KEPT)
	cp $(OUT)/claims.csv $(OUT)/environment.json $(wildcard $(addprefix $(OUT)/tables/,$(addsuffix .csv,minima flatness barriers bends means solvers widths))) $(addprefix $(OUT)/figures/,paths.png flatness.png) $(KEPT)

GALLERY := mlp lenet resnet18 binary_mlp
gallery: $(READY)  ## the study on four networks, kept beside the pages, and the table of their claims in README.md
	for a in $(GALLERY); do $(MAKE) reproduce ARCH=$$a && $(MAKE) results ARCH=$$a || exit 1; done
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/index.ipynb
	$(MAKE) export

test: $(READY) data  ## every page, and every check that no page can hold
	$(BIN)/python -m pytest

export: $(READY)  ## landscape_nb/ and README.md from nbs/
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/sync_readme.py

docs: $(READY)  ## the pages as HTML in _site/
	$(BIN)/python tools/build_site.py _site

clean:  ## remove what these commands leave, but for .venv/, data/ and out/
	rm -rf _site _docs build dist .pytest_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
