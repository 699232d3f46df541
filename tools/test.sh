#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests, cheapest first: unit and property, then root tests in namespaces of their own,
# then the end-to-end suite on the real cluster, then that the cluster left nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo "$HOME/.local/bin/uv")
run() { "$uv" run --no-sync "$@"; }
step() { printf '\n--- %s (%d min %d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

step "unit and property tests"
run pytest -q packages charts docs e2e bench -m "not root and not cluster" -n 2

if [ "$(id -u)" -ne 0 ]; then
  echo "not root: the namespace and cluster tests did not run; run this as root for all tests" >&2
  exit 1
fi

step "what the kernel must have"
run python -m e2e.cluster doctor

step "root tests: eBPF programs, CNI and operator in namespaces of their own"
run pytest -q packages e2e bench -m "root and not cluster"

step "end-to-end suite on the real cluster"
failed=0
KEEP=1 run pytest -q e2e -m cluster || failed=1

step "uninstall leaves the nodes clean, and the cluster leaves nothing behind"
CPY_TAKE_DOWN=1 run pytest -q e2e/cluster/tests/test_uninstall.py \
  e2e/cluster/tests/test_leaves_nothing.py -m cluster || failed=1
exit "$failed"
