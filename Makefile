# SPDX-License-Identifier: Apache-2.0
# Every task of this repository. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
UV ?= $(shell command -v uv || echo $(HOME)/.local/bin/uv)
RUN := $(UV) run --no-sync
NODES ?= 3
PROVIDER ?= local
BENCH ?= all
PY := packages e2e bench charts docs tools
C_SOURCES = $(shell git ls-files '*.c' '*.h')

.PHONY: help
help: ## list the tasks
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: install
install: ## install what the tasks need: Debian packages, uv, Python packages
	@tools/install.sh

.PHONY: doctor
doctor: install ## try each kernel feature that the system needs and say what is missing
	@$(RUN) python -m e2e.cluster doctor

.PHONY: demo
demo: install ## three-node cluster, this system by Helm, and emojivoto on it
	@$(RUN) python -m e2e.demo --provider $(PROVIDER) --nodes $(NODES)

.PHONY: test
test: install ## all tests, the end-to-end suite included (root)
	@tools/test.sh

.PHONY: unit
unit: install ## unit and property tests only
	@$(RUN) pytest -q packages charts docs e2e/cluster e2e/emojivoto e2e/probe e2e/canary e2e/churn e2e/tests -m "not root and not cluster" -n 2

.PHONY: e2e
e2e: install ## end-to-end suite on the real cluster (root)
	@$(RUN) pytest -q e2e -m cluster

.PHONY: soak
soak: install ## property tests with many more examples, a million packets, 5 minutes of churn (root)
	@HYPOTHESIS_PROFILE=soak $(RUN) pytest -q packages -m "not root and not cluster" --timeout 7200
	@EQUIVALENCE_PACKETS=1000000 $(RUN) pytest -q -s packages/agent/tests/datapath/test_equivalence.py --timeout 3600
	@CHURN_SECONDS=300 $(RUN) pytest -q e2e/churn -m cluster -s

.PHONY: bench
bench: install ## benchmarks; BENCH=NAME for one of those that `python -m bench --help` lists (root)
	@$(RUN) python -m bench $(BENCH)

.PHONY: lint
lint: ## ruff, import contracts, clang-format, shellcheck, helm lint
	@$(RUN) ruff check $(PY)
	@$(RUN) ruff format --check $(PY)
	@$(RUN) lint-imports --no-cache
	@$(RUN) clang-format --dry-run --Werror $(C_SOURCES)
	@$(RUN) shellcheck $(shell git ls-files '*.sh') .ci/run
	@$(RUN) helm lint charts/cilium --quiet
	@$(RUN) python tools/check_modules.py

.PHONY: type
type: ## strict types
	@$(RUN) mypy packages/core/src packages/agent/src packages/operator/src packages/proxy/src packages/hubble/src packages/cli/src
	@$(RUN) mypy e2e/cluster e2e/canary e2e/churn e2e/probe bench tools

.PHONY: fmt
fmt: ## format Python and C
	@$(RUN) ruff format $(PY)
	@$(RUN) ruff check --fix $(PY)
	@$(RUN) clang-format -i $(C_SOURCES)

.PHONY: images
images: install ## build the images from the packages' Dockerfiles
	@$(RUN) python -m e2e.cluster build-images

.PHONY: cluster-up
cluster-up: install ## bring the cluster up; PROVIDER=local|kind NODES=3
	@$(RUN) python -m e2e.cluster --provider $(PROVIDER) up --nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## take the cluster down and leave nothing
	@$(RUN) python -m e2e.cluster --provider $(PROVIDER) down
