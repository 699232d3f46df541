# SPDX-License-Identifier: Apache-2.0
"""Compile the protos that products share. Run it after a change of a .proto, commit what it writes.

`python tools/generate_protos.py [OUT]`: OUT is where `cilium_core/proto/` is written (default: the
source tree). Only messages are generated; services are wired by name, so core needs no gRPC.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1] / "packages" / "core" / "src"
PROTOS = ("flow", "relay", "observer", "peer", "nodestate", "proxy", "access", "batches")


def main(argv: list[str]) -> int:
    """Write the modules and their stubs; protoc's exit code."""
    out = Path(argv[0]) if argv else ROOT
    command = ["protoc", f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}"]
    command += [f"--python_out={out}", f"--pyi_out={out}"]
    command += [f"cilium_core/proto/{name}.proto" for name in PROTOS]
    return int(protoc.main(command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
