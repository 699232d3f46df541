#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests, cheapest first: unit and property, then root tests in namespaces of their own,
# then the end-to-end suite on the real cluster, then that the cluster left nothing behind.
# What failed is said again in the last lines, as nobody reads a long log from its middle.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo "$HOME/.local/bin/uv")
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "$uv" run --no-sync "$@"; }
step() { printf '\n--- %s (%d min %d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }
# pytest, its output kept; status of pytest
tests() { run pytest -q "$@" 2>&1 | tee -a "$log"; }
summary() {
  if [ "$1" -ne 0 ]; then
    step "failed, exit status $1"
    grep -E '^(FAILED|ERROR) ' "$log" | cut -c 1-400 || true
  fi
  exit "$1"
}

step "unit and property tests"
tests packages charts docs e2e bench -m "not root and not cluster" -n 2 || summary $?

if [ "$(id -u)" -ne 0 ]; then
  echo "not root: the namespace and cluster tests did not run; run this as root for all tests" >&2
  exit 1
fi

step "what the kernel must have"
run python -m e2e.cluster doctor

step "programs of the cluster, which the operator's tests use too (minutes on a new machine, once)"
run python -m e2e.cluster programs

step "root tests: eBPF programs, CNI and operator in namespaces of their own"
tests packages e2e bench -m "root and not cluster" || summary $?

step "end-to-end suite on the real cluster"
failed=0
KEEP=1 tests e2e -m cluster || failed=$?

step "uninstall leaves the nodes clean, and the cluster leaves nothing behind"
CPY_TAKE_DOWN=1 tests e2e/cluster/tests/test_uninstall.py \
  e2e/cluster/tests/test_leaves_nothing.py -m cluster || failed=$?
summary "$failed"
