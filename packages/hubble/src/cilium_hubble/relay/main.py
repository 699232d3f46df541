# SPDX-License-Identifier: Apache-2.0
"""`cilium-hubble relay`: reads its settings, runs relay, ends quickly on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from cilium_core.errors import ConfigError
from cilium_core.process import logs
from cilium_core.process.settings import parse_flags
from cilium_hubble.errors import HubbleError
from cilium_hubble.relay import settings as relay_settings
from cilium_hubble.relay.daemon import run

log = structlog.get_logger(__name__)

USAGE = f"""usage: cilium-hubble relay [--config-dir DIR] [--KEY VALUE ...]

Serves the flows of all nodes as one stream. Settings come from one file per key in DIR (default
{relay_settings.DEFAULT_DIRECTORY}), from CILIUM_KEY variables and from flags; the later wins. Keys:
{", ".join(relay_settings.KEYS)}.
"""


def main(words: Sequence[str]) -> int:
    """Run relay; the exit code: 0 after a signal, 1 for a failure, 2 for bad settings."""
    if "--help" in words or "-h" in words:
        print(USAGE, end="")
        return 0
    try:
        flags = parse_flags(words)
        directory = Path(flags.pop("config-dir", str(relay_settings.DEFAULT_DIRECTORY)))
        settings = relay_settings.load(directory, os.environ, flags)
    except ConfigError as error:
        print(f"cilium-hubble relay: {error}", file=sys.stderr)
        return 2
    logs.setup(settings.debug, {"grpc": logging.WARNING})
    return asyncio.run(_serve(settings))


async def _serve(settings: relay_settings.RelaySettings) -> int:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("relay stops")
        return 0
    except ExceptionGroup as group:
        known, others = group.split(HubbleError)
        if others is not None:
            log.error("relay failed", exc_info=others)
        elif known is not None:
            log.error("relay does not run", reason=str(known.exceptions[0]))
        return 1
    return 0
