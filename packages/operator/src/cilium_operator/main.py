# SPDX-License-Identifier: Apache-2.0
"""Command line of `cilium-operator`. Exit codes: 0 told to end, 1 failed, 2 wrong configuration."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from cilium_core.errors import CiliumError, ConfigError
from cilium_core.process import logs
from cilium_core.process.access import SERVICE_ACCOUNT, Access, from_kubeconfig, in_cluster
from cilium_operator import config


def main() -> None:
    """Run the operator."""
    sys.exit(start(sys.argv[1:], os.environ))


def start(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run the operator with these arguments and return the exit code."""
    options = _parser().parse_args(arguments)
    _log(debug=False)
    log = structlog.get_logger("cilium_operator")
    try:
        settings = config.load(options.config_dir, environment)
        access = _access(options, environment)
    except (ConfigError, OSError) as error:
        log.error("wrong configuration", error=str(error))
        return 2
    _log(settings.debug)
    from cilium_operator.app import run

    try:
        asyncio.run(run(settings, access, environment.get("K8S_NODE_NAME", "")))
    except (CiliumError, OSError) as error:
        log.error("operator ends", error=str(error))
        return 1
    log.info("operator ends")
    return 0


def _log(debug: bool) -> None:
    kopf = logging.DEBUG if debug else logging.WARNING
    logs.setup(debug, {"kopf": kopf, "aiohttp.access": logging.WARNING})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cilium-operator",
        description="CustomResourceDefinitions, pod CIDRs for nodes, garbage collection.",
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=config.DEFAULT_DIRECTORY,
        help="directory with one file per key (default: %(default)s)",
    )
    parser.add_argument(
        "--kubeconfig", type=Path, help="reach the API server by this file (outside a cluster)"
    )
    parser.add_argument(
        "--service-account",
        type=Path,
        default=SERVICE_ACCOUNT,
        help="directory with token and ca.crt (default: %(default)s)",
    )
    return parser


def _access(options: argparse.Namespace, environment: Mapping[str, str]) -> Access:
    if options.kubeconfig is not None:
        return from_kubeconfig(options.kubeconfig)
    servers = environment.get("CILIUM_K8S_API_SERVERS", "")
    return in_cluster(environment, options.service_account, servers)


if __name__ == "__main__":
    main()
