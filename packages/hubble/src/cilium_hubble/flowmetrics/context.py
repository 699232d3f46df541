# SPDX-License-Identifier: Apache-2.0
"""Who a flow is from and to, as labels that a metric's options ask for. Pure.

Labels are made once for each distinct combination of columns in a batch, not for each flow.
"""

from __future__ import annotations

import numpy as np

from cilium_hubble.flowmetrics.options import Asked
from cilium_hubble.flows.build import address_text
from cilium_hubble.flows.chunk import Names
from cilium_hubble.state.model import Party

_APPS = ("k8s:app.kubernetes.io/name=", "k8s:k8s-app=", "k8s:app=")
_KUBE_APISERVER = "reserved:kube-apiserver"
_DIRECTIONS = {1: "ingress", 2: "egress"}
_ENDS = ("source", "destination")


class Context:
    """The labels of one metric that its options add."""

    def __init__(self, asked: Asked) -> None:
        """Read the options."""
        self._labels = asked.labels
        self._ends = [
            (end, {way: asked.context(f"{end}{way}Context") for way in ("", "Egress", "Ingress")})
            for end in _ENDS
        ]
        self._ends = [(end, ways) for end, ways in self._ends if any(ways.values())]
        self.names = (*self._labels, *(end for end, _ in self._ends))
        self.columns = self._columns()

    def _columns(self) -> tuple[str, ...]:
        """Return the columns of a row that the labels are made of."""
        needed: dict[str, None] = {}
        for label in self._labels:
            end, _, what = label.partition("_")
            if end in _ENDS:
                needed[end if what == "ip" else f"{end}_party"] = None
            else:
                needed["direction"] = None
        for end, ways in self._ends:
            if ways["Egress"] or ways["Ingress"]:
                needed["direction"] = None
            for identifier in {one for identifiers in ways.values() for one in identifiers}:
                column = {"ip": end, "dns": f"{end}_names"}.get(identifier, f"{end}_party")
                needed[column] = None
        return tuple(needed)

    def values(self, row: np.void, names: Names, *, inverted: bool = False) -> tuple[str, ...]:
        """Return the labels of a row; `inverted` takes its ends for each other."""
        found = [self._label(label, row, names, inverted) for label in self._labels]
        for end, ways in self._ends:
            way = ""
            if ways["Egress"] or ways["Ingress"]:
                way = _DIRECTIONS.get(int(row["direction"]), "").capitalize()
            identifiers = ways[way] or ways[""]
            side = _other(end) if inverted else end
            told = (_identified(one, side, row, names) for one in identifiers)
            found.append(next(filter(None, told), ""))
        return tuple(found)

    def _label(self, label: str, row: np.void, names: Names, inverted: bool) -> str:
        end, _, what = label.partition("_")
        if end not in _ENDS:
            return _DIRECTIONS.get(int(row["direction"]), "unknown")
        side = _other(end) if inverted else end
        if what == "ip":
            return address_text(row[side].tobytes())
        party = names.parties[int(row[f"{side}_party"])]
        if what == "workload_kind":
            return party.workload.kind if party.workload is not None else ""
        return {
            "pod": party.pod,
            "namespace": party.namespace,
            "workload": _workload(party),
            "app": _app(party),
        }[what]


def inverted_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return columns with both ends of each."""
    both: dict[str, None] = {}
    for column in columns:
        both[column] = None
        end, separator, rest = column.partition("_")
        if end in _ENDS:
            both[_other(end) + separator + rest] = None
    return tuple(both)


def _other(end: str) -> str:
    return _ENDS[end == "source"]


def _identified(identifier: str, end: str, row: np.void, names: Names) -> str:
    if identifier == "ip":
        return address_text(row[end].tobytes())
    if identifier == "dns":
        return ",".join(names.fqdns[int(row[f"{end}_names"])])
    party = names.parties[int(row[f"{end}_party"])]
    match identifier:
        case "identity":
            return ",".join(party.labels)
        case "namespace":
            return party.namespace
        case "pod":
            return _within(party, party.pod)
        case "pod-name":
            return party.pod
        case "workload":
            return _within(party, _workload(party))
        case "workload-name":
            return _workload(party)
        case "app":
            return _app(party)
    reserved = [label for label in party.labels if label.startswith("reserved:")]
    return _KUBE_APISERVER if _KUBE_APISERVER in reserved else next(iter(reserved), "")


def _within(party: Party, name: str) -> str:
    return f"{party.namespace}/{name}" if party.namespace and name else name


def _workload(party: Party) -> str:
    return party.workload.name if party.workload is not None else ""


def _app(party: Party) -> str:
    for head in _APPS:
        for label in party.labels:
            if label.startswith(head) and len(label) > len(head):
                return label[len(head) :]
    return ""
