# SPDX-License-Identifier: Apache-2.0
"""Prints GetFlowsResponses as they come, in one of upstream's forms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, TextIO

from cilium_core.proto import flow_pb2, relay_pb2
from cilium_core.proto.observer_pb2 import GetFlowsResponse
from cilium_hubble.cli.printing import jsontext, text
from cilium_hubble.cli.printing.colors import Colors, When, wanted
from cilium_hubble.cli.printing.tables import table
from cilium_hubble.cli.printing.times import show

Output = Literal["compact", "dict", "json", "jsonpb", "table"]
SEPARATOR = "------------"
NAMES_LENGTH = 50


@dataclass(frozen=True, slots=True)
class Options:
    """How to print. `time_format` is a name of `times.FORMATS`."""

    output: Output = "compact"
    node_name: bool = False
    policy_names: bool = False
    translate: bool = True
    time_format: str = "StampMilli"
    color: When = "auto"
    debug: bool = False


class Printer:
    """One run of output. A table is printed at `close`, the rest at once."""

    def __init__(self, options: Options, out: TextIO, err: TextIO) -> None:
        """Flows go to `out`, what happened to nodes and events to `err`."""
        self._options = options
        self._out = out
        self._err = err
        self._colors = Colors(options.output != "table" and wanted(options.color, out))
        self._rows: list[list[str]] = []
        self._printed = 0

    def print(self, response: GetFlowsResponse) -> None:
        """Print one response."""
        match response.WhichOneof("response_types"):
            case "flow":
                self._flow(response)
                self._printed += 1
            case "lost_events":
                self._lost(response)
            case "node_status":
                self._node_status(response)

    def close(self) -> None:
        """Print what is still held back."""
        if self._rows:
            self._out.write(table([self._head(), *self._rows]))
            self._rows = []
        self._out.flush()

    def _flow(self, response: GetFlowsResponse) -> None:
        match self._options.output:
            case "compact":
                self._out.write(self._compact(response.flow) + "\n")
            case "dict":
                self._dict(response.flow)
            case "table":
                self._rows.append(self._cells(response.flow))
            case _:
                self._out.write(jsontext.line(response) + "\n")

    def _compact(self, flow: flow_pb2.Flow) -> str:
        source, destination = text.hosts(flow, self._colors, translate=self._options.translate)
        source_id, destination_id = text.identities(flow, self._colors)
        arrow = "<>"
        if flow.HasField("is_reply"):
            arrow = "->"
            if flow.is_reply.value:  # the one who opened the connection stays on the left
                source, destination = destination, source
                source_id, destination_id = destination_id, source_id
                arrow = "<-"
        node = f" [{text.harmless(flow.node_name)}]" if self._options.node_name else ""
        return (
            f"{self._time(flow)}{node}: {source} {source_id} {arrow} {destination}"
            f" {destination_id} {text.flow_type(flow)} {self._verdict(flow)}"
            f" ({text.summary(flow, self._colors)})"
        )

    def _dict(self, flow: flow_pb2.Flow) -> None:
        cells = self._cells(flow)
        lines = [f"{key:>11}: {cell}\n" for key, cell in zip(self._head(), cells, strict=True)]
        if self._printed:
            lines.insert(0, SEPARATOR + "\n")
        self._out.write("".join(lines))

    def _head(self) -> list[str]:
        node = ["NODE"] if self._options.node_name else []
        return ["TIMESTAMP", *node, "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"]

    def _cells(self, flow: flow_pb2.Flow) -> list[str]:
        node = [text.harmless(flow.node_name)] if self._options.node_name else []
        return [
            self._time(flow),
            *node,
            *text.hosts(flow, self._colors, translate=self._options.translate),
            text.flow_type(flow),
            self._verdict(flow),
            text.summary(flow, self._colors),
        ]

    def _time(self, message: flow_pb2.Flow | GetFlowsResponse) -> str:
        if not message.HasField("time"):
            return "N/A"
        return show(message.time, self._options.time_format)

    def _verdict(self, flow: flow_pb2.Flow) -> str:
        return text.verdict(flow, self._colors, policies=self._options.policy_names)

    def _lost(self, response: GetFlowsResponse) -> None:
        if self._options.output in ("json", "jsonpb"):
            self._out.write(jsontext.line(response) + "\n")
            return
        lost = response.lost_events
        source = flow_pb2.LostEventSource.Name(lost.source)
        self._err.write(f"EVENTS LOST: {source} CPU({lost.cpu.value}) {lost.num_events_lost}\n")

    def _node_status(self, response: GetFlowsResponse) -> None:
        status = response.node_status
        bad = (relay_pb2.NODE_ERROR, relay_pb2.NODE_UNAVAILABLE)
        if status.state_change not in bad and not self._options.debug:
            return
        if self._options.output in ("json", "jsonpb"):
            self._err.write(jsontext.line(response) + "\n")
            return
        names, count = _names(list(status.node_names)), len(status.node_names)
        what = {
            relay_pb2.NODE_CONNECTED: f"Receiving flows from {count} nodes: {names}",
            relay_pb2.NODE_UNAVAILABLE: f"{count} nodes are unavailable: {names}",
            relay_pb2.NODE_GONE: f"{count} nodes removed from cluster: {names}",
            relay_pb2.NODE_ERROR: f"Error {json.dumps(status.message)} on {count} nodes: {names}",
        }.get(status.state_change, f"unknown node status event: {jsontext.line(status)}")
        self._err.write(f"{self._time(response)} [{response.node_name}]: {what}\n")


def _names(names: list[str]) -> str:
    """Return names joined, cut near 50 characters: `a, b (and 3 more)`; one at least."""
    shown, length = 0, 0
    for name in names:
        length += len(name) + 2
        if shown and length > NAMES_LENGTH:
            break
        shown += 1
    rest = f" (and {len(names) - shown} more)" if shown < len(names) else ""
    return text.harmless(", ".join(names[:shown])) + rest
