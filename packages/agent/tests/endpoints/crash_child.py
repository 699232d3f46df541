# SPDX-License-Identifier: Apache-2.0
"""An agent over the real kernel that is killed within one ADD; run by test_crash as a process.

Arguments: endpoint file, pod's namespace, bpffs root, where to die: a step of `create`, a place of
WITHIN, or `none` to live through the ADD.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_fakes import make_agent, pod

from cilium_agent.datapath import programs, syscall
from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.endpoints import KernelEndpoints
from cilium_agent.datapath.store import MapStore
from cilium_agent.endpoints.attachment import Attachment
from cilium_agent.host import sysctl

# Places inside a step: the call in whose stead the agent dies.
WITHIN = {
    "link made": lambda store: (sysctl, "own_device"),
    "program attached": lambda store: (syscall, "obj_pin"),
    "ipcache written": lambda store: (store.endpoints, "upsert"),
}


def die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(database: str, netns: str, root: str, fatal: str) -> None:
    (generation,) = programs.generations(Path(root, "progs"))
    attachments = Attachments(programs.Programs(generation), Path(root))
    store = MapStore(Path(root, "maps"))
    agent = await make_agent(
        Path(database), pod("web"), step=lambda name: die() if name == fatal else None
    )
    agent.manager.datapath = KernelEndpoints(store, attachments)
    if fatal in WITHIN:
        owner, name = WITHIN[fatal](store)
        setattr(owner, name, die)
    await agent.manager.create(Attachment("c1", "eth0", netns, "default", "web", "uid-web"))
    die()


asyncio.run(main(*sys.argv[1:]))
