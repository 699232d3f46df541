# SPDX-License-Identifier: Apache-2.0
"""`cilium-agent`: reads its settings, runs the daemon on uvloop, ends quickly on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop

from cilium_agent import config
from cilium_agent.config import DEFAULT_DIRECTORY, Settings
from cilium_agent.daemon import Agent
from cilium_core.errors import ConfigError
from cilium_core.process import logs
from cilium_core.process.settings import parse_flags

NOISY = dict.fromkeys(("aiohttp.access", "uvicorn", "pyroute2"), logging.WARNING)
log = structlog.get_logger(__name__)

USAGE = """usage: cilium-agent [--config-dir DIR] [--KEY VALUE ...]

Runs the node agent. Settings come from one file per key in DIR (default /etc/cilium/config),
from CILIUM_KEY variables and from flags; the later wins. Keys: docs/operations.md.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the agent and exit: 0 after SIGTERM or SIGINT, 1 for a crash, 2 for bad settings."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "--help" in words or "-h" in words:
        print(USAGE, end="")
        return
    try:
        flags = parse_flags(words)
        directory = Path(flags.pop("config-dir", str(DEFAULT_DIRECTORY)))
        settings = config.load(directory, os.environ, flags)
    except ConfigError as error:
        print(f"cilium-agent: {error}", file=sys.stderr)
        sys.exit(2)
    logs.setup(settings.debug, NOISY)
    write_pid(settings.run_dir)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(serve(settings)))


def write_pid(run_dir: Path) -> None:
    """Write `cilium.pid` in the run folder."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "cilium.pid").write_text(f"{os.getpid()}\n")


async def serve(settings: Settings) -> int:
    """Run the agent until a signal (0) or a failure (1, logged)."""
    loop = asyncio.get_running_loop()
    agent = asyncio.ensure_future(_run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.cancel)
    try:
        await agent
    except asyncio.CancelledError:
        log.info("agent stops; maps, programs and links stay in force")
        return 0
    except Exception:
        log.exception("agent failed")
        return 1
    return 0


async def _run(settings: Settings) -> None:
    await Agent(settings).run()


if __name__ == "__main__":
    main()
