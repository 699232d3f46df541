# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [suite|all]`: run suites one after another and publish what they measured."""

from __future__ import annotations

import importlib
import sys

SUITES = {
    "datapath": "bench.datapath",
    "control-plane": "bench.control_plane",
    "policy-engine": "bench.policy_engine",
    "policy-apply": "bench.policy_apply",
    "policy": "bench.policy",
    "hubble": "bench.hubble",
    "dns": "bench.dns",
    "l7": "bench.l7",
    "ready": "bench.ready",
}


def main(argv: list[str]) -> int:
    """Run the named suites. 2 for a name that is no suite, naming those that are."""
    if {"-h", "--help"} & set(argv):
        print(__doc__, f"Suites: {', '.join(SUITES)}.", sep="\n")
        return 0
    wanted = argv or ["all"]
    names = list(SUITES) if wanted == ["all"] else wanted
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"no such suite: {', '.join(unknown)}; there are: {', '.join(SUITES)}")
        return 2
    for name in names:
        importlib.import_module(SUITES[name]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
