# SPDX-License-Identifier: Apache-2.0
"""`cilium-proxy`: one command for each process of the proxy pod, and one that writes for Envoy."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from cilium_core.errors import ConfigError
from cilium_core.process import logs
from cilium_core.process.settings import parse_flags

if TYPE_CHECKING:
    from cilium_proxy.config import Settings

log = structlog.get_logger(__name__)

USAGE = """usage: cilium-proxy COMMAND [--config-dir DIR] [--KEY VALUE ...]

commands:
  controller   serve Envoy its listeners and routes, and hubble its records
  dns          judge DNS questions and tell the agent the addresses of answers (has its own --help)
  bootstrap    print the file that Envoy is started with (--out FILE: write it there)

Settings come from one file per key in DIR (default /etc/cilium/config), from CILIUM_KEY variables
and from flags; the later wins. Keys: state-dir, proxy-metrics-server, proxy-health-server,
proxy-prometheus-port, envoy-health-port, proxy-upstream-ports, proxy-record-headers,
hubble-redact-enabled, hubble-redact-http-urlquery, hubble-redact-http-userinfo,
hubble-redact-http-headers-allow, hubble-redact-http-headers-deny, hubble-redact-kafka-apikey,
debug.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 after SIGTERM or SIGINT, 1 for a crash, 2 for bad settings."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["dns"]:
        # It has settings of its own, and no use for Envoy's types.
        from cilium_proxy.dns.main import main as dns

        sys.exit(dns(words[1:]))
    if not words or "--help" in words or "-h" in words:
        print(USAGE, end="")
        sys.exit(0 if words else 2)
    from cilium_proxy import config

    try:
        command = _COMMANDS.get(words[0])
        if command is None:
            raise ConfigError(words[0], "is not a command; see cilium-proxy --help")
        flags = parse_flags(words[1:])
        directory = Path(flags.pop("config-dir", str(config.DEFAULT_DIRECTORY)))
        settings = config.load(directory, os.environ, flags)
    except ConfigError as error:
        print(f"cilium-proxy: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(command(settings, flags))


def controller(settings: Settings, _flags: Mapping[str, str]) -> int:
    """Run the controller until a signal (0) or a failure (1, logged)."""
    logs.setup(settings.debug, {"grpc": logging.WARNING})
    return asyncio.run(_serve(settings))


def bootstrap(settings: Settings, flags: Mapping[str, str]) -> int:
    """Print Envoy's bootstrap, or write it where `--out` says."""
    from cilium_proxy.bootstrap import Places, text

    sockets = settings.envoy_sockets
    places = Places(
        node=settings.node_name,
        controller=str(sockets / "xds.sock"),
        access_log=str(sockets / "access_log.sock"),
        admin=str(sockets / "admin.sock"),
        metrics=settings.envoy_metrics_address,
        health=settings.envoy_health_address,
        ports=settings.upstream_ports,
    )
    if "out" not in flags:
        print(text(places))
        return 0
    sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
    Path(flags["out"]).write_text(text(places))
    return 0


async def _serve(settings: Settings) -> int:
    from cilium_proxy.daemon import Daemon

    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(Daemon(settings).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("controller stops; Envoy goes on with what it has")
        return 0
    except Exception:
        log.exception("controller failed")
        return 1
    return 0


_COMMANDS: Mapping[str, Callable[[Settings, Mapping[str, str]], int]] = {
    "controller": controller,
    "bootstrap": bootstrap,
}

if __name__ == "__main__":
    main()
