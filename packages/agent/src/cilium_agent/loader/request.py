# SPDX-License-Identifier: Apache-2.0
"""What the agent asks of the loader, and the sources and constants that decide the outcome.

Imported on both sides, so it needs the standard library only. Pure but for reading sources and
the kernel's tick rate.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from cilium_agent.loader.clock import kernel_hz
from cilium_agent.model import VXLAN_PORT, DatapathSettings
from cilium_core.identity import LOCAL_SCOPE, Reserved
from cilium_core.layouts.redirect import BLOCK, LEG_PORTS
from cilium_core.marks import c_defines

SOURCES = Path(__file__).parent.parent / "bpf"


@dataclass(frozen=True)
class LoadRequest:
    """Where the maps are pinned, which folder to make, and the constants to compile with."""

    maps: str
    target: str
    constants: dict[str, int]

    def to_json(self) -> str:
        """Return the text that the loader reads from its standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LoadRequest:
        """Parse `to_json`'s text. TypeError or ValueError when it is not that."""
        return cls(**json.loads(text))


def constants_of(settings: DatapathSettings) -> dict[str, int]:
    """Return the macros that the programs are compiled with."""
    return {
        "HOST_IFINDEX": settings.host_ifindex,
        "VXLAN_IFINDEX": settings.vxlan_ifindex,
        "TUNNEL_PORT": VXLAN_PORT,
        "ENABLE_IPV4": int(settings.enable_ipv4),
        "ENABLE_IPV6": int(settings.enable_ipv6),
        **{f"IDENTITY_{member.name}": int(member) for member in Reserved},
        "IDENTITY_LOCAL_SCOPE": LOCAL_SCOPE,
        "KERNEL_HZ": kernel_hz(),
        "ORDERED_LOADS": int(platform.machine() == "x86_64"),
        "PROXY_BLOCK": BLOCK,
        "LEG_FIRST_PORT": LEG_PORTS[0],
        **c_defines(),
    }


def read_sources() -> list[tuple[str, str]]:
    """Return the C files as (path below the source folder, text), sorted."""
    files = [path for path in SOURCES.rglob("*") if path.suffix in (".c", ".h")]
    return [(str(path.relative_to(SOURCES)), path.read_text()) for path in sorted(files)]


def flatten(sources: dict[str, str], main: str = "datapath.c") -> str:
    """Return `main` with its own includes written out, since bcc treats its main file only.

    KeyError names an include that is not among the sources.
    """
    lines = [f'#line 1 "{main}"']
    for number, line in enumerate(sources[main].splitlines(), 1):
        if line.startswith('#include "'):
            lines.append(flatten(sources, line.split('"')[1]))
            lines.append(f'#line {number + 1} "{main}"')
        elif line != "#pragma once":
            lines.append(line)
        else:
            lines.append("")
    return "\n".join(lines)
