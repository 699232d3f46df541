# SPDX-License-Identifier: Apache-2.0
"""The agent's CNI half as a process: real server, links and file, the other ports in memory.

Arguments: the run folder. Prints `ready <seconds> <adopted>` once the socket answers, then serves
until it is ended. Run by `bench.control_plane` in a network namespace of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from pathlib import Path

from cilium_agent.cni.server import CniServer
from cilium_agent.endpoints.restore import restore

FAKES = Path(__file__).parents[1] / "packages" / "agent" / "tests"
PODS = 400
STARTED = time.perf_counter()


async def serve(run_dir: Path) -> None:
    """Restore, serve, wait for ever."""
    sys.path.insert(0, str(FAKES))
    fakes = importlib.import_module("agent_fakes")
    pods = [fakes.pod(f"p{number}") for number in range(PODS)]
    agent = await fakes.make_agent(run_dir / "endpoints.db", *pods)
    server = CniServer(run_dir, agent.manager)
    await server.listen()
    report = await restore(agent.manager, {})
    await server.serve()
    print(f"ready {time.perf_counter() - STARTED:.4f} {len(report.adopted)}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
