# SPDX-License-Identifier: Apache-2.0
"""`hubble list nodes` and `hubble list namespaces`."""

from __future__ import annotations

import argparse
import json

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto import relay_pb2
from cilium_hubble.cli.configfile import Merged
from cilium_hubble.cli.connection import connect
from cilium_hubble.cli.printing.jsontext import plain
from cilium_hubble.cli.printing.tables import table
from cilium_hubble.cli.printing.times import show_duration

_MISSING = "N/A"
_NANO = 1_000_000_000
_STATES = {
    relay_pb2.NODE_CONNECTED: "Connected",
    relay_pb2.NODE_UNAVAILABLE: "Unavailable",
    relay_pb2.NODE_GONE: "Gone",
    relay_pb2.NODE_ERROR: "Error",
}


def nodes(arguments: argparse.Namespace) -> int:
    """List the server's nodes by name."""
    with connect(arguments) as server:
        timeout = Merged(arguments).seconds()
        reply = server.call("GetNodes", pb.GetNodesRequest(), pb.GetNodesResponse, timeout)
    found = sorted(reply.nodes, key=lambda node: node.name)
    if arguments.output == "json":
        print(json.dumps([plain(node) for node in found], indent=2))
        return 0
    wide = arguments.output == "wide"
    head = ["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"]
    head += ["VERSION", "ADDRESS", "TLS"] if wide else []
    print(table([head, *(_node(node, wide=wide) for node in found)]), end="")
    return 0


def _node(node: pb.Node, *, wide: bool) -> list[str]:
    seconds = round(node.uptime_ns / _NANO)
    share = 100 * node.num_flows / node.max_flows if node.max_flows else 0.0
    cells = [
        node.name,
        _STATES.get(node.state, "Unknown"),
        show_duration(seconds) if seconds else _MISSING,
        f"{node.seen_flows / seconds:.2f}" if seconds else _MISSING,
        f"{node.num_flows}/{node.max_flows} ({share:6.2f}%)" if node.max_flows else _MISSING,
    ]
    if wide:
        tls = ("Disabled", "Enabled")[node.tls.enabled] if node.HasField("tls") else _MISSING
        cells += [node.version or _MISSING, node.address, tls]
    return cells


def namespaces(arguments: argparse.Namespace) -> int:
    """List the namespaces that had flows in the last hour."""
    with connect(arguments) as server:
        timeout = Merged(arguments).seconds()
        request = pb.GetNamespacesRequest()
        reply = server.call("GetNamespaces", request, pb.GetNamespacesResponse, timeout)
    found = reply.namespaces
    if arguments.output == "json":
        print(json.dumps([plain(entry) for entry in found], indent=2))
        return 0
    wide = arguments.output == "wide"
    rows = [["NAMESPACE", "CLUSTER"] if wide else ["NAMESPACE"]]
    rows += [[e.namespace, e.cluster] if wide else [e.namespace] for e in found]
    print(table(rows), end="")
    return 0
