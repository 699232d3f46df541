# SPDX-License-Identifier: Apache-2.0
"""`hubble status`: is the server well, and how full is it?"""

from __future__ import annotations

import argparse

from cilium_core.proto.observer_pb2 import ServerStatusRequest, ServerStatusResponse
from cilium_hubble.cli.configfile import Merged
from cilium_hubble.cli.connection import ServerError, connect
from cilium_hubble.cli.printing import jsontext
from cilium_hubble.cli.printing.tables import table
from cilium_hubble.cli.printing.times import show_duration

_NANO = 1_000_000_000
_MISSING = "N/A"


def run(arguments: argparse.Namespace) -> int:
    """Print the status; ServerError `not healthy` when the server says that it is not serving."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    timeout = Merged(arguments).seconds()
    with connect(arguments) as server:
        asked = health_pb2.HealthCheckRequest(service="observer.Observer")
        reply = health_pb2_grpc.HealthStub(server.channel).Check(asked, timeout=timeout)
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
        well = state == "SERVING"
        if arguments.output == "compact":
            print(
                f"Healthcheck (via {server.address}): {'Ok' if well else f'Unavailable: {state}'}"
            )
        if not well:
            raise ServerError("not healthy")
        status = server.call("ServerStatus", ServerStatusRequest(), ServerStatusResponse, timeout)
    print(show(status, arguments.output), end="")
    return 0


def show(status: ServerStatusResponse, output: str) -> str:
    """Return the status in one of the forms."""
    if output in ("json", "jsonpb"):
        return jsontext.line(status) + "\n"
    if output == "compact":
        return _compact(status)
    fields = _fields(status)
    if output == "table":
        return table([list(fields), list(fields.values())])
    names = {"NUM UNAVAILABLE NODES": "NUM UNAVAIL. NODES"}
    return "".join(f"{names.get(key, key):>19}: {value}\n" for key, value in fields.items())


def _compact(status: ServerStatusResponse) -> str:
    text = f"Current/Max Flows: {status.num_flows:,}/{status.max_flows:,}"
    if status.max_flows:
        text += f" ({100 * status.num_flows / status.max_flows:.2f}%)"
    rate = _rate(status)
    uptime = status.uptime_ns / _NANO
    if rate == _MISSING and uptime:
        rate = f"{status.seen_flows / uptime:.2f}"
    text += f"\nFlows/s: {rate}\n"
    if status.HasField("num_connected_nodes"):
        text += f"Connected Nodes: {status.num_connected_nodes.value}"
        if status.HasField("num_unavailable_nodes"):
            total = status.num_unavailable_nodes.value + status.num_connected_nodes.value
            text += f"/{total}"
        text += "\n"
    missing = status.num_unavailable_nodes.value
    if missing:
        text += f"Unavailable Nodes: {missing}\n"
        names = sorted(status.unavailable_nodes)
        if names and missing > len(names):
            names.append(f"and {missing - len(names)} more...")
        text += "".join(f"  - {name}\n" for name in names)
    return text


def _fields(status: ServerStatusResponse) -> dict[str, str]:
    def count(name: str) -> str:
        return str(getattr(status, name).value) if status.HasField(name) else _MISSING

    return {
        "NUM FLOWS": f"{status.num_flows:,}",
        "MAX FLOWS": f"{status.max_flows:,}",
        "SEEN FLOWS": f"{status.seen_flows:,}",
        "FLOWS PER SECOND": _rate(status),
        "UPTIME": show_duration(round(status.uptime_ns / _NANO)),
        "NUM CONNECTED NODES": count("num_connected_nodes"),
        "NUM UNAVAILABLE NODES": count("num_unavailable_nodes"),
        "VERSION": status.version,
    }


def _rate(status: ServerStatusResponse) -> str:
    return f"{status.flows_rate:.2f}" if status.flows_rate > 0 else _MISSING
