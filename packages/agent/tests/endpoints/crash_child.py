# SPDX-License-Identifier: Apache-2.0
"""An agent that dies without a word before one step; run by test_restore as a process of its own.

Arguments: endpoint file, pod's namespace, the step (`none` to live through the ADD).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_fakes import make_agent, pod

from cilium_agent.endpoints.attachment import Attachment


async def main(database: str, netns: str, fatal: str) -> None:
    def step(name: str) -> None:
        if name == fatal:
            os._exit(137)

    agent = await make_agent(Path(database), pod("web"), step=step)
    await agent.manager.create(Attachment("c1", "eth0", netns, "default", "web", "uid-web"))
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
