# SPDX-License-Identifier: Apache-2.0
"""`hubble observe`: flags into a GetFlows request, responses into lines."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from google.protobuf.json_format import Parse, ParseError

from cilium_core.errors import FieldError
from cilium_core.proto.flow_pb2 import FlowFilter
from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.cli.configfile import Merged
from cilium_hubble.cli.flowfilters import CONSTANTS, NAMESPACES, PLAIN, SIDED, Filters
from cilium_hubble.cli.printing import times
from cilium_hubble.cli.printing.printer import Options, Printer

DEFAULT_LAST = 20
WHAT = ("flows", "agent-events", "debug-events")
_EVERYTHING = (1 << 64) - 1

_HELP = {
    "uuid": "the flow with this identifier",
    "node-name": "flows seen on nodes with these names (k8s*, cluster/*.company.com)",
    "node-label": "flows seen on nodes with these labels",
    "cluster": "flows seen in clusters with these names (prod-*)",
    "from-cluster": "flows from endpoints in this cluster",
    "to-cluster": "flows to endpoints in this cluster",
    "protocol": "tcp, udp, sctp, icmp, icmpv4, icmpv6, http, dns or kafka",
    "tcp-flags": "flows with all of these TCP flags (syn,ack)",
    "type": "TYPE[:SUBTYPE]: drop, trace, trace:to-endpoint, policy-verdict, l7 …",
    "verdict": "FORWARDED, DROPPED, AUDIT, REDIRECTED, ERROR, TRACED or TRANSLATED",
    "drop-reason-desc": "drops for this reason (POLICY_DENIED)",
    "snat-ip": "flows whose source was translated to this address or CIDR",
    "ip-version": "none, v4 or v6",
    "traffic-direction": "ingress or egress",
    "interface": "flows seen at this interface",
    "trace-id": "flows with this trace ID",
    "http-status": "HTTP status (404, 5+)",
    "http-method": "HTTP method",
    "http-path": "regular expression of an HTTP path",
    "http-url": "regular expression of an HTTP URL",
    "http-header": "HTTP header, name:value",
    "pod": "pod by name prefix, [namespace/]pod",
    "ip": "address or CIDR",
    "fqdn": "DNS name, with *",
    "label": "label selector (k8s:app=web,tier!=front, reserved:world)",
    "service": "service by name prefix, [namespace/]service",
    "port": "port",
    "workload": "workload, [kind/]name",
    "identity": "security identity: a number or a reserved name",
    "namespace": "Kubernetes namespace",
    "all-namespaces": "any Kubernetes namespace",
    "ipv4": "IPv4 flows",
    "ipv6": "IPv6 flows",
}
_SHORT = {
    "type": "-t",
    "label": "-l",
    "namespace": "-n",
    "all-namespaces": "-A",
    "ipv4": "-4",
    "ipv6": "-6",
}


class _Filter(argparse.Action):
    """Hands each filter flag on in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            if self.dest == "not":
                namespace.filters.negate()
            else:
                namespace.filters.add(self.dest, values if isinstance(values, str) else "")
        except FieldError as error:
            parser.error(str(error))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add all flags of `observe` but the server's."""
    parser.set_defaults(filters=Filters())
    parser.add_argument("what", nargs="?", choices=WHAT, default="flows", help=", ".join(WHAT))
    _add_selectors(parser.add_argument_group("selectors"))
    _add_filters(parser.add_argument_group("filters"))
    _add_formatting(parser.add_argument_group("formatting"))


def _add_selectors(group: Any) -> None:
    group.add_argument("--all", action="store_true", help="all flows that the server has")
    group.add_argument("--last", type=_number, default=0, help="the last N flows (default 20)")
    group.add_argument("--first", type=_number, default=0, help="the first N flows")
    group.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    for name in ("since", "until"):
        text = f"flows {name} a time: 5m ago, 2026-01-02T15:04:05Z, Jan  2 15:04:05.000 …"
        group.add_argument(f"--{name}", default="", help=text)


def _add_filters(group: Any) -> None:
    group.add_argument(
        "--not", dest="not", nargs=0, action=_Filter, help="reverses the next filter"
    )
    sided = [name for base in SIDED for name in (base, f"from-{base}", f"to-{base}")]
    for name in (*PLAIN, *sided, *NAMESPACES, *CONSTANTS):
        short = [_SHORT[name]] if name in _SHORT else []
        end, _, base = name.partition("-")
        text = _HELP.get(name) or f"{_HELP[base]} ({'source' if end == 'from' else 'destination'})"
        takes: dict[str, Any] = {"nargs": 0} if name in CONSTANTS else {"metavar": "FILTER"}
        group.add_argument(*short, f"--{name}", dest=name, action=_Filter, help=text, **takes)
    for name in ("allowlist", "denylist"):
        text = "FlowFilter as JSON, as in the API"
        group.add_argument(f"--{name}", action="append", default=[], help=text)


def _add_formatting(group: Any) -> None:
    outputs = ["compact", "dict", "json", "jsonpb", "table"]
    group.add_argument("-o", "--output", choices=outputs, default="compact", help="default compact")
    group.add_argument("--print-node-name", action="store_true", help="show the node")
    group.add_argument("--print-policy-names", action="store_true", help="show who decided")
    formats = sorted(times.FORMATS)
    group.add_argument("--time-format", choices=formats, default="StampMilli", help="of UTC times")
    group.add_argument("--numeric", action="store_true", help="show addresses, not names")
    group.add_argument(
        "--ip-translation",
        type=_boolean,
        nargs="?",
        const=True,
        default=True,
        metavar="BOOL",
        help="show pods' and services' names (default true)",
    )
    group.add_argument("--color", choices=["auto", "always", "never"], default="auto")
    group.add_argument("-s", "--silent-errors", action="store_true", help="no errors of nodes")
    group.add_argument("--debug", action="store_true", help="also tell of nodes that come and go")


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def request(arguments: argparse.Namespace, now: int) -> GetFlowsRequest:
    """Return the GetFlowsRequest of the flags; `now` is in ns. FieldError for what does not go."""
    _check(arguments)
    whitelist, blacklist = arguments.filters.lists()
    made = GetFlowsRequest(
        number=arguments.first or arguments.last,
        first=bool(arguments.first),
        follow=arguments.follow,
        whitelist=[*whitelist, *_raw(arguments.allowlist, "--allowlist")],
        blacklist=[*blacklist, *_raw(arguments.denylist, "--denylist")],
    )
    if arguments.since:
        made.since.FromNanoseconds(times.read(arguments.since, now, "--since"))
    if arguments.until and not arguments.follow:
        made.until.FromNanoseconds(times.read(arguments.until, now, "--until"))
    if not arguments.since and not arguments.until and not arguments.first:
        if arguments.all:
            made.number = _EVERYTHING
        elif not arguments.last and not arguments.follow:
            made.number = DEFAULT_LAST
    return made


def _check(arguments: argparse.Namespace) -> None:
    pairs = (("first", "last"), ("first", "all"), ("first", "follow"), ("last", "all"))
    for one, other in pairs:
        if getattr(arguments, one) and getattr(arguments, other):
            raise FieldError(f"--{one}", f"cannot be combined with --{other}")
    if arguments.follow and arguments.output == "table":
        raise FieldError("--output", "table is not compatible with --follow")
    if arguments.follow and arguments.until:
        raise FieldError("--until", "cannot be combined with --follow")


def _raw(texts: Sequence[str], flag: str) -> list[FlowFilter]:
    try:
        return [Parse(text, FlowFilter()) for text in texts]
    except ParseError as error:
        raise FieldError(flag, str(error)) from error


def run(arguments: argparse.Namespace) -> int:
    """Ask and print until the stream ends or the user ends it."""
    from cilium_hubble.cli.connection import ServerError

    if arguments.what != "flows":
        from cilium_hubble.cli import events

        return events.observe(arguments, request(arguments, time.time_ns()).number)
    try:
        return _observe(arguments)
    except ServerError as error:
        raise ServerError(arguments.filters.in_flags(str(error))) from error


def _observe(arguments: argparse.Namespace) -> int:
    from cilium_hubble.cli.connection import connect

    wanted = request(arguments, time.time_ns())
    options = Options(
        output=arguments.output,
        node_name=arguments.print_node_name,
        policy_names=arguments.print_policy_names,
        translate=arguments.ip_translation and not arguments.numeric,
        time_format=arguments.time_format,
        color=arguments.color,
        debug=bool(Merged(arguments).value("debug")),
    )
    error = _Nowhere() if arguments.silent_errors else sys.stderr
    printer = Printer(options, sys.stdout, error)  # type: ignore[arg-type]
    with connect(arguments) as server:
        try:
            for response in server.flows(wanted):
                printer.print(response)
                if arguments.follow:
                    sys.stdout.flush()
        except KeyboardInterrupt:
            pass
        finally:
            printer.close()
    return 0


class _Nowhere:
    """Takes what is not to be seen."""

    def write(self, _text: str) -> None:
        """Forget it."""
