# `make help` lists the commands. Each does its own set-up, once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What is given as NAME=value goes to the commands through the environment, letter by letter: neither make nor a shell reads it as code.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name)))$(eval export $(name)))
export GIVEN
export PYDEVD_DISABLE_FILE_VALIDATION := 1

.PHONY: help setup data reproduce results claims gallery explore test test-all types export docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo 'parameters of reproduce and results: those of nbs/reproduce.ipynb, in capitals, as in ARCH=resnet18'

setup:  ## the environment: .venv with every requirement
	@bash tools/setup_venv.sh

data:  ## Fashion-MNIST
	@bash tools/get_data.sh

reproduce: setup  ## the whole study, as in: make reproduce ARCH=resnet18 PRESET=paper
	@$(BIN)/python tools/reproduce.py || [ $$? = 130 ]    # interrupted: it has said so

results: setup  ## keep the claims, tables, figures and the notebook of that run beside the pages
	@$(BIN)/python tools/reproduce.py keep

claims: setup  ## the claims of every kept run again, from its tables, without training
	@$(BIN)/python tools/claims.py

export GALLERY := mlp lenet resnet18 binary_mlp
gallery: setup  ## the study on four networks, kept beside the pages, and the table of their claims in README.md
	for a in $$GALLERY; do $(MAKE) reproduce ARCH=$$a && $(MAKE) results ARCH=$$a || exit 1; done
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/index.ipynb
	$(MAKE) export

explore: setup  ## walk between the minima of a run in a browser, as in: make explore RUN=out/mlp-fashion_mnist-quick; without RUN the newest
	@$(BIN)/landscape explore -- "$$RUN" || [ $$? = 130 ]    # interrupted: it has said so

test: setup data  ## every page, every property, a cross-section of networks: minutes
	$(BIN)/python -m pytest -m 'not long'

test-all: setup data  ## everything: every family of networks, long fuzz, kills, whole studies
	$(BIN)/python -m pytest

types: setup  ## what a type checker says of every module, methods that are added to classes among them
	rm -rf build/types
	$(BIN)/python tools/stubs.py build/types/landscape_nb --check
	cd build/types && env -u PYTHONPATH ../../$(BIN)/ty check --python ../../.venv --config-file ../../tools/ty.toml --error-on-warning landscape_nb

export: setup  ## landscape_nb/ and README.md from nbs/
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/sync_readme.py

docs: setup  ## the documentation site in _site/: the pages as committed, the functions of every module; a dead link is an error
	$(BIN)/python -m pip install --quiet --no-input -c constraints.txt $$(sed -n 's/^docs_requirements = //p' settings.ini)
	$(BIN)/python tools/build_site.py _site

clean:  ## remove what these commands leave, but for .venv/, data/ and out/
	rm -rf _site _docs build dist .pytest_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
