# SPDX-License-Identifier: Apache-2.0
"""The flags of `cilium policy …`. A command's full name, `policy validate`, ends in `command`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cilium policy validate -f manifests/
  cilium policy trace -f manifests/ --from shop/web --to shop/db --port 5432
"""
_VALIDATE_EXAMPLES = """examples:
  cilium policy validate -f policy.yaml
  cilium policy validate -f manifests/ -f more.yaml
  helm template . | cilium policy validate -f - -o json
"""
_TRACE_EXAMPLES = """ends:
  shop/web  a pod         node:n1  a node's host        svc:shop/db  a service's backends
  ip:10.0.0.1  an address  entity:world  host, kube-apiserver …  fqdn:example.com  (--to only)

examples:
  cilium policy trace -f manifests/ --from shop/web --to shop/db --port 5432
  cilium policy trace -f manifests/ --from shop/web --to ip:10.96.0.10 --port 53 --protocol UDP
  cilium policy trace -f manifests/ --from entity:world --to shop/web --port 80 \\
      --request '{"http": {"method": "GET", "path": "/admin"}}'
  cilium policy trace -f manifests/ --probes probes.jsonl -o json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Give the `policy` parser its commands."""
    commands = parser.add_subparsers(
        dest="policy_command",
        metavar="<command>",
        title="commands",
        required=True,
        parser_class=type(parser),
    )
    _validate(commands)
    _trace(commands)


def _validate(commands: _Commands) -> None:
    text = "Check policies in files as the agent would, and print what is wrong with each field."
    parser = commands.add_parser(
        "validate",
        help=text,
        description=text,
        epilog=_VALIDATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="policy validate")
    files(parser)
    parser.add_argument(
        *("-o", "--output"), choices=("text", "json"), default="text", help="format"
    )


def _trace(commands: _Commands) -> None:
    text = "Tell whether a packet passes the policies in files, and which rule decides."
    parser = commands.add_parser(
        "trace",
        help=text,
        description=f"{text} Files also hold the pods, nodes, services and namespaces.",
        epilog=_TRACE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="policy trace")
    files(parser)
    parser.add_argument("--from", dest="source", metavar="END", help="who sends")
    parser.add_argument("--to", dest="target", metavar="END", help="who receives")
    parser.add_argument("--port", metavar="N", help="destination port")
    parser.add_argument("--protocol", metavar="P", help="TCP (default), UDP, SCTP, ICMP, a number")
    parser.add_argument("--icmp-type", metavar="TYPE", help="type of an ICMP message")
    parser.add_argument(
        "--request",
        metavar="JSON",
        help='an application request: {"http": {…}}, {"dns": NAME}, {"kafka": {…}}, {"sni": NAME}',
    )
    parser.add_argument(
        "--probes", metavar="FILE", help="judge many: a JSON object a line, - for stdin"
    )
    parser.add_argument(
        "--cluster-name", default="default", metavar="NAME", help="the cluster's name"
    )
    parser.add_argument(
        *("-o", "--output"), choices=("text", "json"), default="text", help="format"
    )


def files(parser: argparse.ArgumentParser) -> None:
    """Add `-f`: one or more files or folders of manifests, in `files`."""
    parser.add_argument(
        *("-f", "--filename"),
        dest="files",
        action="extend",
        nargs="+",
        required=True,
        metavar="FILE_OR_DIR",
        help="manifests: YAML or JSON files, folders of them, - for stdin; can be repeated",
    )
