# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg`: looks into the agent of this node through its API socket. One thread, blocking."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cilium_agent.dbg import envoy, fqdn, lists, monitor, status
from cilium_agent.dbg.client import DEFAULT_SOCKET, Unreachable, get

ENDPOINTS = "cilium_lxc_v2"
IPCACHE = "cilium_ipcache_v1"
TUNNELS = "cilium_tunnel_v1"
SERVICES = "cilium_lb_services_v1"
SLOTS = "cilium_lb_slots_v1"
BACKENDS = "cilium_lb_backends_v1"
CONNECTIONS = "cilium_ct_v1"

Show = Callable[[Any], str]


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 for good, 1 for an error or an unwell agent."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
    except Unreachable as error:
        print(f"Error: {error}", file=sys.stderr)
        code = 1
    except BrokenPipeError:
        code = 0
    sys.exit(code)


EXAMPLES = """examples:
  cilium-dbg status --verbose
  cilium-dbg endpoint list
  cilium-dbg bpf policy get --all
  cilium-dbg monitor -t drop
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cilium-dbg",
        description="Look into this node's agent.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", type=Path, default=DEFAULT_SOCKET, help="the agent's API socket")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_status(commands)
    _add_endpoint(commands)
    _add_list(commands, "identity", "security identities", "/identity/endpoints", lists.identities)
    _add_list(commands, "ip", "prefixes and their identities", "/ip", lists.addresses)
    _add_list(commands, "service", "load-balanced services", "/service", lists.services)
    _add_list(commands, "proxy", "rule sets that connections are led to", "/proxy", lists.proxies)
    _add_policy(commands)
    _add_bpf(commands)
    fqdn.add(commands)
    monitor.add(commands)
    envoy.add(commands)
    _add_cleanup(commands)
    return parser


def _add_status(commands: Any) -> None:
    parser = commands.add_parser("status", help="state of the agent")
    parser.add_argument("--brief", action="store_true", help="one line; exit code 1 when unwell")
    parser.add_argument("--verbose", action="store_true", help="list allocated addresses too")
    _add_output(parser)
    parser.set_defaults(run=_status)


def _add_list(commands: Any, name: str, what: str, path: str, show: Show) -> None:
    group = commands.add_parser(name, help=what).add_subparsers(required=True, metavar="list")
    parser = group.add_parser("list", help=f"list {what}")
    _add_output(parser)
    parser.set_defaults(run=lambda a: _show(a, get(path, where=a.host), show))


def _add_endpoint(commands: Any) -> None:
    what = "endpoints of this node"
    group = commands.add_parser("endpoint", help=what).add_subparsers(
        required=True, metavar="action"
    )
    listing = group.add_parser("list", help=f"list {what}")
    _add_output(listing)
    listing.set_defaults(run=lambda a: _show(a, get("/endpoint", where=a.host), lists.endpoints))
    one = group.add_parser("get", help="one endpoint, as JSON")
    one.add_argument("endpoint", help="its number, pod-name:ns:name, ipv4:ADDRESS, ipv6:ADDRESS …")
    _add_output(one)
    one.set_defaults(
        run=lambda a: _show(
            a, [get(f"/endpoint/{a.endpoint}", where=a.host)], lambda r: json.dumps(r, indent=2)
        )
    )


def _add_policy(commands: Any) -> None:
    group = commands.add_parser("policy", help="policies in force").add_subparsers(
        required=True, metavar="action"
    )
    get_ = group.add_parser("get", help="list policy objects, their problems and the revision")
    _add_output(get_)
    get_.set_defaults(run=lambda a: _show(a, get("/policy", where=a.host), lists.policy_objects))
    what = group.add_parser("selectors", help="list peer sets and the identities in each")
    _add_output(what)
    what.set_defaults(
        run=lambda a: _show(a, get("/policy/selectors", where=a.host), lists.selectors)
    )


def _add_bpf(commands: Any) -> None:
    group = commands.add_parser("bpf", help="the kernel's maps").add_subparsers(
        required=True, metavar="map"
    )
    heads = {
        "ipcache": (IPCACHE, ("IP PREFIX/ADDRESS", "IDENTITY")),
        "endpoint": (ENDPOINTS, ("IP ADDRESS", "LOCAL ENDPOINT INFO")),
        "tunnel": (TUNNELS, ("TUNNEL", "VALUE")),
    }
    for name, (map_name, head) in heads.items():
        actions = group.add_parser(name, help=f"the map {map_name}").add_subparsers(
            required=True, metavar="list"
        )
        parser = actions.add_parser("list", help="list its entries")
        _add_output(parser)
        parser.set_defaults(run=_map_command(map_name, head))
    actions = group.add_parser("lb", help="the load-balancing maps").add_subparsers(
        required=True, metavar="list"
    )
    parser = actions.add_parser("list", help="list services with their backends")
    _add_output(parser)
    parser.set_defaults(run=_load_balancer)
    actions = group.add_parser("ct", help="the connection table").add_subparsers(
        required=True, metavar="list"
    )
    parser = actions.add_parser("list", help="list connections, one line each")
    parser.add_argument("table", nargs="?", choices=["global"], default="global")
    _add_output(parser)
    parser.set_defaults(
        run=lambda a: _show(a, get(f"/map/{CONNECTIONS}", where=a.host), lists.connections)
    )
    actions = group.add_parser("policy", help="the policy tables").add_subparsers(
        required=True, metavar="action"
    )
    parser = actions.add_parser("get", help="list what endpoints enforce")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("endpoint", nargs="?", type=int, help="an endpoint's id")
    who.add_argument("--all", action="store_true", help="all endpoints")
    parser.add_argument("-n", "--numeric", action="store_true", help="identities as numbers")
    _add_output(parser)
    parser.set_defaults(run=_policies)
    whole = actions.add_parser("tables", help="the rows and peer-set bits whole, as JSON")
    _add_output(whole)
    whole.set_defaults(
        run=lambda a: _show(
            a, get("/bpf/policy/tables", where=a.host), lambda r: json.dumps(r, indent=2)
        )
    )


def _add_cleanup(commands: Any) -> None:
    parser = commands.add_parser("cleanup", help="remove everything of Cilium from this node")
    parser.add_argument("--all", action="store_true", required=True, help="all there is")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.set_defaults(run=_cleanup)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=["json"], help="print JSON instead of text")


def _status(arguments: argparse.Namespace) -> int:
    reply = get("/healthz", brief=arguments.brief, where=arguments.host)
    if arguments.output:
        print(json.dumps(reply, indent=2))
        return 0
    if arguments.brief:
        line, code = status.brief(reply)
        print(line)
        return code
    print(status.text(reply, verbose=arguments.verbose))
    return 0


def _show(arguments: argparse.Namespace, reply: Any, show: Show) -> int:
    print(json.dumps(reply, indent=2) if arguments.output else show(reply))
    return 0


def _map_command(name: str, head: tuple[str, str]) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        reply = get(f"/map/{name}", where=arguments.host)
        if arguments.output:
            print(json.dumps({e["key"]: [e["value"]] for e in reply["cache"]}, indent=2))
        else:
            print(lists.map_entries(head, reply))
        return 0

    return run


def _load_balancer(arguments: argparse.Namespace) -> int:
    names = (SERVICES, SLOTS, BACKENDS)
    services, slots, backends = (get(f"/map/{name}", where=arguments.host) for name in names)
    if arguments.output:
        print(json.dumps({r["path"]: r["cache"] for r in (services, slots, backends)}, indent=2))
    else:
        print(lists.load_balancer(services, slots, backends))
    return 0


def _policies(arguments: argparse.Namespace) -> int:
    query = "" if arguments.all else f"?endpoint={arguments.endpoint}"
    reply = get(f"/bpf/policy{query}", where=arguments.host)
    return _show(arguments, reply, lambda listed: lists.policies(listed, arguments.numeric))


def _cleanup(arguments: argparse.Namespace) -> int:
    from cilium_agent.dbg import cleanup

    agent = cleanup.running_agent()
    if agent is not None:
        print(f"Error: an agent runs on this node (pid {agent}); stop it first", file=sys.stderr)
        return 1
    if not arguments.force:
        answer = input("Remove all pods' network links, programs and state of this node? [y/N] ")
        if answer.strip().lower() != "y":
            return 1
    failures = cleanup.cleanup(print)
    for failure in failures:
        print(f"Error: not removed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    main()
