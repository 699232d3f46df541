# SPDX-License-Identifier: Apache-2.0
"""From filter flags, in the order in which they are given, to the lists of a request. Pure.

`--x` means either end, so it makes two filters of which one must hold; `--from-x` and `--to-x` set
the same field in both. `--not` sends the next flag, and only that, into the list of what is not
shown. Namespaces go into the pod and service words when the lists are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cilium_core.errors import FieldError
from cilium_core.identity import Reserved
from cilium_core.proto import flow_pb2
from cilium_core.proto.flow_pb2 import FlowFilter
from cilium_hubble.flows import words
from cilium_hubble.flows.summary import TCP_FLAGS

_SIDES = ("source", "destination")


def _text(value: str) -> Any:
    return value


def _verdict(value: str) -> Any:
    return _enum(flow_pb2.Verdict, value, "verdict")


def _drop_reason(value: str) -> Any:
    return _enum(flow_pb2.DropReason, value, "drop reason")


def _enum(kind: Any, value: str, what: str) -> Any:
    try:
        return kind.Value(value)
    except ValueError as error:
        names = ", ".join(kind.keys()[1:])
        raise ValueError(f"is not a {what}; there are {names}") from error


def _identity(value: str) -> Any:
    names = {member.label: int(member) for member in Reserved}
    if value in names:
        return names[value]
    if not value.isdecimal() or int(value) >= 1 << 32:
        raise ValueError(f"is neither a number nor one of {', '.join(names)}")
    return int(value)


def _direction(value: str) -> Any:
    if value.lower() not in ("ingress", "egress"):
        raise ValueError("is neither ingress nor egress")
    return flow_pb2.TrafficDirection.Value(value.upper())


def _ip_version(value: str) -> Any:
    for number, names in enumerate((("none",), ("4", "v4", "ipv4", "ip4"), ("6", "v6", "ipv6"))):
        if value.lower() in names:
            return number
    raise ValueError("is not none, v4 or v6")


def _tcp_flags(value: str) -> Any:
    names = {name for name, _ in TCP_FLAGS} | {"NS"}
    flags = [flag.upper() for flag in value.split(",")]
    if not names.issuperset(flags):
        raise ValueError(f"is not a list of TCP flags; there are {', '.join(sorted(names))}")
    return flow_pb2.TCPFlags(**dict.fromkeys(flags, True))


def _event_type(value: str) -> Any:
    name, colon, subtype = value.partition(":")
    made = flow_pb2.EventTypeFilter()
    if name in words.EVENT_TYPES:
        made.type = words.EVENT_TYPES[name]
    elif name.isdecimal():
        made.type = int(name)
    else:
        raise ValueError(f"is not an event type; there are {', '.join(words.EVENT_TYPES)}")
    if colon:
        made.match_sub_type = True
        if made.type == words.EVENT_TYPES["trace"] and subtype in words.OBSERVATION_POINTS:
            made.sub_type = words.OBSERVATION_POINTS.index(subtype)
        elif subtype.isdecimal():
            made.sub_type = int(subtype)
        else:
            points = f"{', '.join(words.OBSERVATION_POINTS)} or " if name == "trace" else ""
            raise ValueError(f"has a wrong subtype; after {name}: stands {points}a number")
    return made


def _workload(value: str) -> Any:
    kind, slash, name = value.rpartition("/")
    return flow_pb2.Workload(kind=kind, name=name) if slash else flow_pb2.Workload(name=name)


def _header(value: str) -> Any:
    key, colon, held = value.partition(":")
    if not colon:
        raise ValueError("is not name:value")
    return flow_pb2.HTTPHeader(key=key, value=held)


def _interface(value: str) -> Any:
    return flow_pb2.NetworkInterface(name=value)


def _cluster(value: str) -> Any:
    return f"{value}/"


Parser = Callable[[str], Any]

# Flags with two ends: the field's name after `source_` and `destination_`.
SIDED: dict[str, tuple[str, Parser]] = {
    "pod": ("pod", _text),
    "ip": ("ip", _text),
    "fqdn": ("fqdn", _text),
    "label": ("label", _text),
    "service": ("service", _text),
    "port": ("port", _text),
    "workload": ("workload", _workload),
    "identity": ("identity", _identity),
}
PLAIN: dict[str, tuple[str, Parser]] = {
    "uuid": ("uuid", _text),
    "node-name": ("node_name", _text),
    "node-label": ("node_labels", _text),
    "cluster": ("node_name", _cluster),
    "from-cluster": ("source_cluster_name", _text),
    "to-cluster": ("destination_cluster_name", _text),
    "protocol": ("protocol", _text),
    "tcp-flags": ("tcp_flags", _tcp_flags),
    "type": ("event_type", _event_type),
    "verdict": ("verdict", _verdict),
    "drop-reason-desc": ("drop_reason_desc", _drop_reason),
    "snat-ip": ("source_ip_xlated", _text),
    "ip-version": ("ip_version", _ip_version),
    "traffic-direction": ("traffic_direction", _direction),
    "interface": ("interface", _interface),
    "trace-id": ("trace_id", _text),
    "http-status": ("http_status_code", _text),
    "http-method": ("http_method", _text),
    "http-path": ("http_path", _text),
    "http-url": ("http_url", _text),
    "http-header": ("http_header", _header),
}
NAMESPACES = {"namespace": "", "from-namespace": "source", "to-namespace": "destination"}
CONSTANTS = {
    "ipv4": ("ip-version", "v4"),
    "ipv6": ("ip-version", "v6"),
    "all-namespaces": ("namespace", ""),
    "from-all-namespaces": ("from-namespace", ""),
    "to-all-namespaces": ("to-namespace", ""),
}

_CONFLICTS: list[set[str]] = [
    {"from-fqdn", "from-ip", "ip", "fqdn", "from-namespace", "namespace"},
    {"from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"},
    {"to-fqdn", "to-ip", "ip", "fqdn", "to-namespace", "namespace"},
    {"to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"},
    *({f"{end}-{name}", "namespace"} for end in ("from", "to") for name in ("pod", "service")),
    *({f"{end}-{name}", name} for end in ("from", "to") for name in SIDED),
    {"node-name", "cluster"},
]


_PATH = re.compile(r"\b(whitelist|blacklist)\[(\d+)\]\.(\w+)(\[\d+\])?")


def _fields(name: str) -> tuple[tuple[str, ...], Parser]:
    """Return the field that a flag sets in each of a list's filters; a namespace's, all it may."""
    if name in NAMESPACES:
        sides = [NAMESPACES[name]] if NAMESPACES[name] else _SIDES
        return tuple(f"{side}_{kind}" for side in sides for kind in ("pod", "service")), _text
    if name in SIDED:
        field, parser = SIDED[name]
        return tuple(f"{side}_{field}" for side in _SIDES), parser
    end, _, base = name.partition("-")
    if end in ("from", "to") and base in SIDED:
        field, parser = SIDED[base]
        return (f"{_SIDES[end == 'to']}_{field}",) * 2, parser
    field, parser = PLAIN[name]
    return (field,) * 2, parser


class _List:
    """One list being made: two filters, either of which may hold, and the namespaces."""

    def __init__(self) -> None:
        self.filters = (FlowFilter(), FlowFilter())
        self._namespaces: dict[str, list[str]] = {"": [], "source": [], "destination": []}
        self._used: list[str] = []

    def add(self, name: str, value: str) -> None:
        for group in _CONFLICTS:
            for used in self._used:
                if used != name and {used, name} <= group:
                    raise FieldError(f"--{name}", f"cannot be combined with --{used}")
        self._used.append(name)
        if name in NAMESPACES:
            self._namespaces[NAMESPACES[name]].append(value)
            return
        fields, parser = _fields(name)
        for item, field in zip(self.filters, fields, strict=True):
            _append(item, field, parser(value))

    def flags(self, field: str) -> list[str]:
        """Return the flags that were given and set that field."""
        used = dict.fromkeys(self._used)
        return [f"--{name}" for name in used if field in _fields(name)[0]]

    def made(self) -> list[FlowFilter]:
        left, right = (FlowFilter.FromString(item.SerializeToString()) for item in self.filters)
        for item in (left, right):
            for side in _SIDES:
                _put_namespaces(item, side, self._namespaces[side])
        _put_namespaces(left, "source", self._namespaces[""])
        _put_namespaces(right, "destination", self._namespaces[""])
        return [left] if left == right else [left, right]


class Filters:
    """The two lists, filled flag by flag."""

    def __init__(self) -> None:
        """Start without any filter: everything is shown."""
        self._shown: _List | None = None
        self._hidden: _List | None = None
        self._negated = False

    def negate(self) -> None:
        """Send the next flag into the list of what is not shown. FieldError twice in a row."""
        if self._negated:
            raise FieldError("--not", "is given twice in a row")
        self._negated = True

    def add(self, name: str, value: str) -> None:
        """Take one flag. FieldError with the flag for a value or a combination that is wrong."""
        name, value = CONSTANTS.get(name, (name, value))
        if self._negated:
            self._hidden = self._hidden or _List()
            target = self._hidden
        else:
            self._shown = self._shown or _List()
            target = self._shown
        self._negated = False
        try:
            target.add(name, value)
        except ValueError as error:
            raise FieldError(f"--{name}", f"{value!r} {error}") from error

    def lists(self) -> tuple[list[FlowFilter], list[FlowFilter]]:
        """Return whitelist and blacklist. FieldError for a `--not` with nothing after it."""
        if self._negated:
            raise FieldError("--not", "is the last filter flag: it reverses the one after it")
        return (
            self._shown.made() if self._shown is not None else [],
            self._hidden.made() if self._hidden is not None else [],
        )

    def in_flags(self, text: str) -> str:
        """Return a server's words with fields of the request replaced by the flags that set them.

        `whitelist[0].source_ip[0]` is `--from-ip` or `--ip`, as given. What no flag set came by
        `--allowlist` or `--denylist`, where fields are what the user wrote.
        """
        return _PATH.sub(self._flag, text)

    def _flag(self, path: re.Match[str]) -> str:
        name, index, field, _ = path.groups()
        made = self._shown if name == "whitelist" else self._hidden
        given = made.flags(field) if made and int(index) < len(made.made()) else []
        if not given:
            raw = "--allowlist" if name == "whitelist" else "--denylist"
            return f"{raw}: {path[0].partition('.')[2]}"
        return ("--not " if name == "blacklist" else "") + " or ".join(given)


def _append(item: FlowFilter, field: str, value: Any) -> None:
    getattr(item, field).append(value)


def _put_namespaces(item: FlowFilter, side: str, namespaces: Sequence[str]) -> None:
    """Give pods and services without a namespace each of these; without any, every pod of them."""
    if not namespaces:
        return
    pods, services = getattr(item, f"{side}_pod"), getattr(item, f"{side}_service")
    if not pods and not services:
        pods.append("")
    for held in (pods, services):
        full = []
        for text in held:
            whole = [text] if "/" in text else [f"{namespace}/{text}" for namespace in namespaces]
            full += whole
        del held[:]
        held.extend(full)
