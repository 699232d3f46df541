# SPDX-License-Identifier: Apache-2.0
"""`python3 -m cilium_agent.loader`: a LoadRequest on standard input, a report on standard output.

Opens (or creates) the pinned maps, compiles all programs as one unit, fills the tail-call array
and pins everything in a new folder that takes its final name only when it is complete.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from cilium_agent.datapath import syscall
from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.loader.headers import provide_headers
from cilium_agent.loader.request import LoadRequest, flatten, read_sources
from cilium_agent.loader.stack import stack_bytes
from cilium_core.layouts.datapath import ALL_MAPS

_SCHED_CLS = 3
_CGROUP_SOCK_ADDR = 18
_SK_LOOKUP = 30
STAGES = (  # by their numbers in lib/calls.h
    "fragment",
    "egress",
    "translate",
    "ingress",
    "related",
    "judge",
    "deliver",
    "drop_packet",
    "renew",
    "to_proxy",
)
ENTRIES = ("from_container", "from_overlay", "from_host")
SOCKETS = {
    "sock4_connect": syscall.AttachType.CGROUP_INET4_CONNECT,
    "sock6_connect": syscall.AttachType.CGROUP_INET6_CONNECT,
    "sock4_sendmsg": syscall.AttachType.CGROUP_UDP4_SENDMSG,
    "sock6_sendmsg": syscall.AttachType.CGROUP_UDP6_SENDMSG,
    "sock4_recvmsg": syscall.AttachType.CGROUP_UDP4_RECVMSG,
    "sock6_recvmsg": syscall.AttachType.CGROUP_UDP6_RECVMSG,
    "sock4_getpeername": syscall.AttachType.CGROUP_INET4_GETPEERNAME,
    "sock6_getpeername": syscall.AttachType.CGROUP_INET6_GETPEERNAME,
}


def main() -> int:
    """Load what the request on standard input asks for; non-zero with a traceback otherwise."""
    request = LoadRequest.from_json(sys.stdin.read())
    started = time.monotonic()
    provide_headers(os.uname().release)
    for spec in ALL_MAPS:
        PinnedMap.open_or_create(spec, Path(request.maps)).close()
    unit, compiled = _compile(request)
    target = Path(request.target)
    fresh = target.with_name(f"new-{target.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    programs = [_pin(unit, name, _SCHED_CLS, -1, fresh) for name in (*STAGES, *ENTRIES)]
    programs += [
        _pin(unit, name, _CGROUP_SOCK_ADDR, int(hook), fresh) for name, hook in SOCKETS.items()
    ]
    programs.append(
        _pin(unit, "pick_listener", _SK_LOOKUP, int(syscall.AttachType.SK_LOOKUP), fresh)
    )
    calls = unit["calls"]
    for number, name in enumerate(STAGES):
        calls[ctypes.c_int(number)] = ctypes.c_int(unit.funcs[name.encode()].fd)
    # The kernel empties a program array when its last descriptor or pin goes.
    syscall.obj_pin(calls.map_fd, fresh / "calls")
    fresh.rename(target)
    report = {
        "seconds": round(time.monotonic() - started, 3),
        "compile_seconds": round(compiled, 3),
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "programs": programs,
    }
    print(json.dumps(report))
    return 0


def _compile(request: LoadRequest) -> tuple[Any, float]:
    import bcc

    flags = [f"-D{name}={value}" for name, value in request.constants.items()]
    flags += [f'-DMAPS="{request.maps}/"', "-Wall", "-Werror", "-Wno-unused-function"]
    started = time.monotonic()
    unit = bcc.BPF(text=flatten(dict(read_sources())), cflags=flags)
    return unit, time.monotonic() - started


def _pin(unit: Any, name: str, kind: int, hook: int, folder: Path) -> dict[str, Any]:
    loaded = unit.load_func(name, kind, attach_type=hook)
    syscall.obj_pin(loaded.fd, folder / name)
    info = syscall.program_info(loaded.fd)
    return {
        "name": name,
        "instructions": info.instructions,
        "jited_bytes": info.jited_bytes,
        "verified": info.verified,
        "stack_bytes": stack_bytes(unit.dump_func(name)),
    }


if __name__ == "__main__":
    sys.exit(main())
