# SPDX-License-Identifier: Apache-2.0
"""`cilium-proxy dns`: reads its settings, runs the proxy, ends quickly on SIGTERM."""

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

from cilium_core.errors import ConfigError
from cilium_core.process import logs
from cilium_core.process.settings import parse_flags
from cilium_proxy.dns import settings
from cilium_proxy.dns.daemon import DnsProxy
from cilium_proxy.dns.settings import Settings

log = structlog.get_logger(__name__)

USAGE = """usage: cilium-proxy dns [--config-dir DIR] [--KEY VALUE ...]

Judges the DNS questions that the kernel leads here, asks in the pod's name and tells the agent the
addresses of answers before the pod has them. Settings come from one file per key in DIR (default
/etc/cilium/config), from CILIUM_KEY variables and from flags; the later wins. Keys:
tofqdns-dns-reject-response-code, tofqdns-proxy-response-max-delay, dnsproxy-concurrency-limit,
dnsproxy-concurrency-processing-grace-period, dnsproxy-metrics-server, dnsproxy-health-server,
enable-ipv4, enable-ipv6, state-dir, debug.
"""


def main(words: Sequence[str]) -> int:
    """Run the proxy; return 0 after SIGTERM or SIGINT, 1 for a crash, 2 for bad settings."""
    if "--help" in words or "-h" in words:
        print(USAGE, end="")
        return 0
    try:
        flags = parse_flags(words)
        directory = Path(flags.pop("config-dir", str(settings.DEFAULT_DIRECTORY)))
        read = settings.load(directory, os.environ, flags)
    except ConfigError as error:
        print(f"cilium-proxy dns: {error}", file=sys.stderr)
        return 2
    logs.setup(read.debug, {"grpc": logging.WARNING})
    settings.raise_file_limit()
    return uvloop.run(serve(read))


async def serve(read: Settings) -> int:
    """Run the proxy until a signal (0) or a failure (1, logged)."""
    running = asyncio.ensure_future(DnsProxy(read).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("the DNS proxy stops")
        return 0
    except Exception:
        log.exception("the DNS proxy failed")
        return 1
    return 0
