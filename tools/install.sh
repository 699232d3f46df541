#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install what the Makefile's tasks need: uv, the workspace's Python packages and, as root on
# Debian, the packages in tools/apt-packages.txt. Quick when everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%4ds  %s\n' "$SECONDS" "$*" >&2; }

missing_packages() {
  local name
  while read -r name; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
  done < <(grep -v '^#' tools/apt-packages.txt)
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: install by hand what tools/apt-packages.txt names"
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    say "not root, so these packages were not installed: ${missing[*]}"
    say "unit tests work without them; the cluster, demo and end-to-end tests need root"
    return
  fi
  say "installing ${#missing[@]} Debian packages (2 to 4 minutes on a new machine)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_uv() {
  command -v uv >/dev/null && return
  [ -x "$HOME/.local/bin/uv" ] && return
  say "installing uv"
  python3 -m pip install -q --root-user-action=ignore uv==0.13.9 ||
    python3 -m pip install -q --break-system-packages --user uv==0.13.9
}

install_packages
install_uv
uv=$(command -v uv || echo "$HOME/.local/bin/uv")
if ! "$uv" sync --all-packages --frozen --quiet --check 2>/dev/null; then
  say "installing the Python packages"
  "$uv" sync --all-packages --frozen --quiet
fi
