# SPDX-License-Identifier: Apache-2.0
"""`cilium-proxy COMMAND`: the processes of the proxy pod that are not Envoy, one image for all.

A command's code is imported when it is the one that runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from cilium_proxy import logs

# The module's `main(words)` returns the exit status.
COMMANDS = {"dns": "cilium_proxy.dns.main"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status; 2 for a command that there is not."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        asked = words[0] if words else ""
        print(f"usage: cilium-proxy {{{','.join(COMMANDS)}}} [--help]", file=sys.stderr)
        sys.exit(0 if asked in ("-h", "--help") else 2)
    logs.setup("--debug=true" in words)
    sys.exit(importlib.import_module(COMMANDS[words[0]]).main(words[1:]))


if __name__ == "__main__":
    main()
