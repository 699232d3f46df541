# SPDX-License-Identifier: Apache-2.0
"""The flags of every command, with help and examples.

argparse and nothing else: typer imports pydantic to convert a flag, which alone would cost more
than the whole time budget of `cilium status` (docs/adr, "The CLI parses with argparse").
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import NoReturn

from cilium_cli.durations import parse_duration
from cilium_cli.errors import CliError
from cilium_cli.policy import arguments as policy

_STATUS_EXAMPLES = """examples:
  cilium status
  cilium status --wait --wait-duration 2m
  cilium status -o json | jq .pods_count

The line Hubble is about hubble-relay, as in upstream's command: "disabled" means that there is no
relay. What hubble in the agents' pods has to say is among Cilium's errors and warnings.
"""
_HUBBLE_EXAMPLES = """examples:
  cilium hubble port-forward &
  hubble status
  hubble observe --follow
"""
_FORWARD_EXAMPLES = """examples:
  cilium hubble port-forward &
  cilium hubble port-forward --port-forward 4300
"""
_ENABLE_EXAMPLES = """examples:
  cilium hubble enable --wait
  cilium hubble enable --ui
  cilium hubble enable --no-relay --dry-run
"""
_DISABLE_EXAMPLES = """examples:
  cilium hubble disable
"""
_INSTALL_EXAMPLES = """examples:
  cilium install -f values.yaml --wait
  cilium install --set cluster.name=lab --set operator.replicas=1
  cilium install -f values.yaml --dry-run
"""
_UPGRADE_EXAMPLES = """examples:
  cilium upgrade -f values.yaml --wait
  cilium upgrade --reuse-values --set operator.replicas=2
"""
_UNINSTALL_EXAMPLES = """examples:
  cilium uninstall
  cilium uninstall --dry-run
"""
_VERSION_EXAMPLES = """examples:
  cilium version
  cilium version --client
"""
_EXAMPLES = """examples:
  cilium install -f values.yaml --wait
  cilium status
  cilium <command> --help
"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints look like every other error of the command."""

    def error(self, message: str) -> NoReturn:
        """Raise CliError with the message and where help is."""
        raise CliError(f"{message}\nRun '{self.prog} --help' for usage.")


def _seconds(text: str) -> float:
    try:
        return parse_duration("duration", text)
    except CliError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 5m0s") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _setting(flag: str, text: str) -> tuple[str, str]:
    return flag, text


def _cluster() -> Parser:
    """Return the flags of every command that asks a cluster."""
    parent = Parser(add_help=False)
    group = parent.add_argument_group("cluster")
    namespace = os.environ.get("CILIUM_NAMESPACE") or "kube-system"
    group.add_argument("--context", default="", help="kubeconfig context to use")
    group.add_argument("--kubeconfig", default="", help="path of the kubeconfig file")
    group.add_argument(
        *("-n", "--namespace"),
        default=namespace,
        help="Cilium's namespace (default kube-system, or $CILIUM_NAMESPACE)",
    )
    group.add_argument("--as", dest="user", default="", metavar="USER", help="user to impersonate")
    group.add_argument(
        *("--as-group",),
        dest="groups",
        action="append",
        default=[],
        metavar="GROUP",
        help="group to impersonate, needs --as; can be repeated",
    )
    return parent


def _release() -> Parser:
    parent = Parser(add_help=False)
    parent.add_argument(
        "--helm-release-name",
        default="cilium",
        metavar="NAME",
        help="Helm release (default cilium)",
    )
    parent.add_argument("--dry-run", action="store_true", help="print the objects, change nothing")
    return parent


def _wait(what: str) -> Parser:
    parent = Parser(add_help=False)
    parent.add_argument("--wait", action="store_true", help=what)
    parent.add_argument(
        "--wait-duration",
        type=_seconds,
        default=300.0,
        metavar="DURATION",
        help="how long to wait (default 5m0s)",
    )
    return parent


def _change() -> Parser:
    parent = Parser(add_help=False)
    parent.add_argument(
        *("-f", "--values", "--helm-values"),
        action="append",
        default=[],
        metavar="FILE",
        help="values file, or - for stdin; can be repeated",
    )
    for flag, metavar, text in (
        ("set", "KEY=VALUE", "one value; can be repeated"),
        ("set-string", "KEY=TEXT", "one value that is a text, whatever it looks like"),
        ("set-file", "KEY=FILE", "one value, from a file"),
    ):
        # The long spelling is the one that upstream's command had first.
        parent.add_argument(
            *(f"--{flag}", f"--helm-{flag}"),
            dest="settings",
            type=partial(_setting, f"--{flag}"),
            action="append",
            default=[],
            metavar=metavar,
            help=text,
        )
    parent.add_argument(
        "--version", default="", help="chart version; this command carries exactly one"
    )
    return parent


def build() -> Parser:
    """Return the parser; the chosen command is in `command`."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="cilium",
        description="Install Cilium in Python, and see whether it is well.",
        epilog=_EXAMPLES,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="<command>", title="commands", required=True, parser_class=Parser
    )

    def command(
        name: str,
        text: str,
        examples: str,
        parents: list[Parser],
    ) -> Parser:
        return commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples,
            formatter_class=raw,
            parents=parents,
        )

    cluster, release, change = _cluster(), _release(), _change()
    ready = _wait("then wait until the status is ready")
    _status_flags(
        command(
            "status",
            "Show whether the installation is well: components, images, pods, errors.",
            _STATUS_EXAMPLES,
            [_wait("wait until the status is ready"), cluster],
        )
    )
    command(
        "install",
        "Install with Helm, from the chart that this command carries.",
        _INSTALL_EXAMPLES,
        [change, release, ready, cluster],
    )
    upgrade = command(
        "upgrade",
        "Upgrade to the chart that this command carries, or change values.",
        _UPGRADE_EXAMPLES,
        [change, release, ready, cluster],
    )
    either = upgrade.add_mutually_exclusive_group()
    either.add_argument(
        "--reuse-values", action="store_true", help="keep the release's values, merge these in"
    )
    either.add_argument("--reset-values", action="store_true", help="start from the chart's values")
    either.add_argument(
        "--reset-then-reuse-values",
        action="store_true",
        help="start from the chart's values, merge in the release's, then these",
    )
    uninstall = command(
        "uninstall",
        "Remove the release, clean every node, restore its earlier CNI configuration.",
        _UNINSTALL_EXAMPLES,
        [release, cluster],
    )
    uninstall.add_argument(
        "--timeout", default="5m0s", metavar="DURATION", help="for the clean-up (default 5m0s)"
    )
    version = command(
        "version",
        "Print the versions of this command, its chart, and what runs.",
        _VERSION_EXAMPLES,
        [cluster],
    )
    version.add_argument("--client", action="store_true", help="ask no cluster")
    _hubble_flags(
        command("hubble", "Turn Hubble on or off, and reach it.", _HUBBLE_EXAMPLES, []),
        cluster,
        [release, ready, cluster],
    )
    policy.add(
        command("policy", "Check network policies, with or without a cluster.", policy.EXAMPLES, [])
    )
    return parser


def _hubble_flags(
    parser: argparse.ArgumentParser, cluster: Parser, upgrading: list[Parser]
) -> None:
    commands = parser.add_subparsers(
        dest="hubble", metavar="<command>", title="commands", required=True, parser_class=Parser
    )
    text = "Lead a port of this machine to Hubble Relay, until interrupted."
    forward = commands.add_parser(
        "port-forward",
        help=text,
        description=text,
        parents=[cluster],
        epilog=_FORWARD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    forward.set_defaults(command="hubble port-forward")
    forward.add_argument(
        "--port-forward",
        dest="port",
        type=_positive,
        default=4245,
        metavar="PORT",
        help="port of this machine (default 4245, which hubble asks)",
    )
    for name, text, examples in (
        ("enable", "Turn Hubble on by an upgrade that keeps all other values.", _ENABLE_EXAMPLES),
        ("disable", "Turn Hubble, relay and UI off by such an upgrade.", _DISABLE_EXAMPLES),
    ):
        switch = commands.add_parser(
            name,
            help=text,
            description=text,
            parents=upgrading,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        switch.set_defaults(command=f"hubble {name}")
        if name == "enable":
            flag = argparse.BooleanOptionalAction
            switch.add_argument("--relay", action=flag, default=True, help="with Hubble Relay")
            switch.add_argument("--ui", action=flag, default=False, help="with Hubble UI")


def _status_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ignore-warnings", action="store_true", help="with --wait: warnings do not count"
    )
    parser.add_argument(
        "--worker-count",
        type=_positive,
        default=5,
        metavar="N",
        help="questions asked at once (default 5)",
    )
    parser.add_argument(
        *("-o", "--output"), choices=("summary", "json"), default="summary", help="format"
    )
    parser.add_argument(
        "--interactive",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="redraw while waiting on a terminal",
    )
    parser.add_argument("--verbose", action="store_true", help="add a line for each agent")
