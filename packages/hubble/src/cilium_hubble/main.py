# SPDX-License-Identifier: Apache-2.0
"""`cilium-hubble`: reads its settings, runs the daemon, ends quickly on SIGTERM."""

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
from cilium_hubble import config
from cilium_hubble.config import DEFAULT_DIRECTORY, Settings
from cilium_hubble.daemon import Daemon
from cilium_hubble.errors import RingBusy

log = structlog.get_logger(__name__)

USAGE = """usage: cilium-hubble [--config-dir DIR] [--KEY VALUE ...]
       cilium-hubble relay [--help]

Reads the kernel's events and serves flows. Settings come from one file per key in DIR (default
/etc/cilium/config), from CILIUM_KEY variables and from flags; the later wins. Keys:
hubble-socket-path, hubble-event-buffer-capacity, hubble-metrics, hubble-metrics-server,
hubble-history-enabled, hubble-history-path, hubble-history-max-bytes, hubble-history-max-age,
hubble-listen-address,
hubble-disable-tls, hubble-tls-cert-file, hubble-tls-key-file, hubble-tls-client-ca-files,
cluster-name, state-dir, bpf-root, debug.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the daemon and exit: 0 after SIGTERM or SIGINT, 1 for a crash, 2 for bad settings."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["relay"]:
        from cilium_hubble.relay.main import main as relay

        sys.exit(relay(words[1:]))
    if "--help" in words or "-h" in words:
        print(USAGE, end="")
        return
    try:
        flags = parse_flags(words)
        directory = Path(flags.pop("config-dir", str(DEFAULT_DIRECTORY)))
        settings = config.load(directory, os.environ, flags)
    except ConfigError as error:
        print(f"cilium-hubble: {error}", file=sys.stderr)
        sys.exit(2)
    logs.setup(settings.debug, {"grpc": logging.WARNING})
    sys.exit(asyncio.run(serve(settings)))


async def serve(settings: Settings) -> int:
    """Run the daemon until a signal (0) or a failure (1, logged)."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(_run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("hubble stops; events stay in the ring until it is back")
        return 0
    except RingBusy as error:
        log.error("hubble does not start", reason=str(error))
        return 1
    except Exception:
        log.exception("hubble failed")
        return 1
    return 0


async def _run(settings: Settings) -> None:
    await Daemon(settings).run()


if __name__ == "__main__":
    main()
