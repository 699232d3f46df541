# SPDX-License-Identifier: Apache-2.0
"""`hubble observe agent-events` and `hubble observe debug-events`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from cilium_core.errors import FieldError
from cilium_core.proto import flow_pb2 as flow
from cilium_core.proto import observer_pb2 as pb
from cilium_hubble.cli.printing import jsontext, times
from cilium_hubble.cli.printing.tables import table
from cilium_hubble.cli.printing.text import harmless

_METHODS: dict[str, tuple[str, Any, Any]] = {
    "agent-events": ("GetAgentEvents", pb.GetAgentEventsRequest, pb.GetAgentEventsResponse),
    "debug-events": ("GetDebugEvents", pb.GetDebugEventsRequest, pb.GetDebugEventsResponse),
}


def observe(arguments: argparse.Namespace, number: int) -> int:
    """Ask and print until the stream ends or the user ends it; `number` as for flows."""
    from cilium_hubble.cli.connection import connect

    if any(arguments.filters.lists()) or arguments.allowlist or arguments.denylist:
        raise FieldError(arguments.what, "takes no filters")
    name, asked, answer = _METHODS[arguments.what]
    request = asked(number=number, first=bool(arguments.first), follow=arguments.follow)
    now = time.time_ns()
    for field in ("since", "until"):
        if given := getattr(arguments, field):
            getattr(request, field).FromNanoseconds(times.read(given, now, f"--{field}"))
    rows: list[list[str]] = []
    with connect(arguments) as server:
        try:
            for index, response in enumerate(server.stream(name, request, answer)):
                if arguments.output == "table":
                    rows.append(_cells(response, arguments))
                else:
                    sys.stdout.write(_shown(response, arguments, index))
                if arguments.follow:
                    sys.stdout.flush()
        except KeyboardInterrupt:
            pass
    if rows:
        node = ["NODE"] if arguments.print_node_name else []
        sys.stdout.write(table([["TIMESTAMP", *node, "TYPE", "DETAILS"], *rows]))
    return 0


def _cells(response: Any, arguments: argparse.Namespace) -> list[str]:
    event = response.agent_event
    node = [harmless(response.node_name)] if arguments.print_node_name else []
    kind = flow.AgentEventType.Name(event.type)
    form = arguments.time_format
    return [times.show(response.time, form), *node, kind, harmless(details(event, form))]


def _shown(response: Any, arguments: argparse.Namespace, index: int) -> str:
    if arguments.output in ("json", "jsonpb"):
        return jsontext.line(response) + "\n"
    when, *node, kind, about = _cells(response, arguments)
    if arguments.output == "compact":
        return f"{when}{''.join(f' [{name}]' for name in node)}: {kind} ({about})\n"
    lines = [f"  TIMESTAMP: {when}\n", *(f"       NODE: {name}\n" for name in node)]
    lines += [f"       TYPE: {kind}\n", f"    DETAILS: {about}\n"]
    return ("------------\n" if index else "") + "".join(lines)


def details(event: flow.AgentEvent, time_format: str) -> str:
    """Return an event's particulars on a line, in upstream's words."""
    match event.WhichOneof("notification"):
        case "agent_start":
            return f"start time: {times.show(event.agent_start.time, time_format)}"
        case "policy_update":
            policy = event.policy_update
            labels = ",".join(policy.labels)
            return f"labels: [{labels}], revision: {policy.revision}, count: {policy.rule_count}"
        case "endpoint_regenerate":
            made = event.endpoint_regenerate
            failed = f", error: {made.error}" if made.error else ""
            return f"id: {made.id}, labels: [{','.join(made.labels)}]{failed}"
        case "endpoint_update":
            endpoint = event.endpoint_update
            parts = {"namespace": endpoint.namespace, "pod name": endpoint.pod_name}
            return f"id: {endpoint.id}" + _parts(parts)
        case "ipcache_update":
            cache = event.ipcache_update
            old = str(cache.old_identity.value) if cache.HasField("old_identity") else ""
            parts = {
                "old identity": old,
                "host ip": cache.host_ip,
                "old host ip": cache.old_host_ip,
            }
            text = f"cidr: {cache.cidr}, identity: {cache.identity}{_parts(parts)}"
            return f"{text}, encrypt key: {cache.encrypt_key}"
        case "service_upsert":
            return _service(event.service_upsert)
        case "service_delete":
            return f"id: {event.service_delete.id}"
    return "UNKNOWN"


def _service(service: flow.ServiceUpsertNotification) -> str:
    def address(one: flow.ServiceUpsertNotificationAddr) -> str:
        return f"[{one.ip}]:{one.port}" if ":" in one.ip else f"{one.ip}:{one.port}"

    backends = ",".join(map(address, service.backend_addresses))
    parts = {
        "frontend": address(service.frontend_address),
        "backends": f"[{backends}]" if backends else "",
        "type": service.type,
        "namespace": service.namespace,
        "name": service.name,
    }
    return f"id: {service.id}" + _parts(parts)


def _parts(parts: dict[str, str]) -> str:
    return "".join(f", {name}: {value}" for name, value in parts.items() if value)
