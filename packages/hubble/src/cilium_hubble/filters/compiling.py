# SPDX-License-Identifier: Apache-2.0
"""From FlowFilter messages to one check: fields are ANDed, values of a field and filters ORed.

Every field that is set must be known here: one that is not is an error that names it, since a
filter that is left out would show what was not asked for. Pure but for the tables it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet

from cilium_core.errors import FieldError
from cilium_core.proto.flow_pb2 import FlowFilter
from cilium_hubble.filters import packet, requests
from cilium_hubble.filters.addresses import in_networks
from cilium_hubble.filters.checks import Check, anyone, column_in, constant, every, interned
from cilium_hubble.filters.names import namespaced, node_names, patterns
from cilium_hubble.filters.selectors import selectors
from cilium_hubble.flows.chunk import Chunk, Mask, Names
from cilium_hubble.flows.record import LOST
from cilium_hubble.state.model import Party

Field = Callable[[Any, str, Names], Check]

_NOT_RECORDED = {
    "source_ip_xlated": "translated source addresses",
    "ip_trace_id": "IP trace ids",
    "experimental": "what CEL expressions could be asked about",
}


def compile_lists(
    whitelist: Sequence[FlowFilter], blacklist: Sequence[FlowFilter], names: Names
) -> Check:
    """Return the check of a request. FieldError with the path of what cannot be honoured.

    A flow passes when one filter of the whitelist (if there are any) and none of the blacklist
    holds. Rows of lost events always pass.
    """
    wanted = _compile(whitelist, "whitelist", names)
    unwanted = _compile(blacklist, "blacklist", names)

    def check(chunk: Chunk) -> Mask:
        mask: Mask = wanted(chunk) if whitelist else np.ones(len(chunk), bool)
        if blacklist:
            mask &= ~unwanted(chunk)
        mask |= chunk.rows["type"] == LOST
        return mask

    return check


def _compile(filters: Sequence[FlowFilter], path: str, names: Names) -> Check:
    return anyone(_one(item, f"{path}[{index}]", names) for index, item in enumerate(filters))


def _one(item: FlowFilter, path: str, names: Names) -> Check:
    unknown = UnknownFieldSet(item)
    if len(unknown):
        raise FieldError(f"{path}.{unknown[0].field_number}", "is a field that this version lacks")
    checks = []
    for descriptor, values in item.ListFields():
        name = descriptor.name
        if name not in _FIELDS:
            missing = _NOT_RECORDED.get(name, "this")
            raise FieldError(f"{path}.{name}", f"is not supported: {missing} are not recorded yet")
        checks.append(_FIELDS[name](values, f"{path}.{name}", names))
    return every(checks)


def _of_party(side: str, test: Callable[[Any, str], Callable[[Party], bool]]) -> Field:
    def field(values: Any, path: str, names: Names) -> Check:
        return interned(f"{side}_party", names.parties, test(values, path))

    return field


def _pods(values: Sequence[str], path: str) -> Callable[[Party], bool]:
    test = namespaced(values, path)
    return lambda party: test(party.namespace, party.pod)


def _labels(values: Sequence[str], path: str) -> Callable[[Party], bool]:
    test = selectors(values, path)
    return lambda party: test(party.labels)


def _clusters(values: Sequence[str], path: str) -> Callable[[Party], bool]:
    test = patterns(values, path)
    return lambda party: test(party.cluster)


def _identities(values: Iterable[int], _path: str) -> Callable[[Party], bool]:
    wanted = frozenset(values)
    return lambda party: party.identity in wanted


def _workloads(values: Any, path: str) -> Callable[[Party], bool]:
    wanted = [(item.kind, item.name) for item in values]
    for index, (kind, name) in enumerate(wanted):
        if not kind and not name:
            raise FieldError(f"{path}[{index}]", "has neither a name nor a kind")

    def test(party: Party) -> bool:
        held = party.workload
        return held is not None and any(
            kind in ("", held.kind) and name in ("", held.name) for kind, name in wanted
        )

    return test


def _services(side: str) -> Field:
    def field(values: Sequence[str], path: str, names: Names) -> Check:
        test = namespaced(values, path)
        return interned(
            f"{side}_service", names.services, lambda found: test(found.namespace, found.name)
        )

    return field


def _fqdns(side: str) -> Field:
    def field(values: Sequence[str], path: str, names: Names) -> Check:
        test = patterns(values, path)
        return interned(f"{side}_names", names.fqdns, lambda held: any(map(test, held)))

    return field


def _addresses(side: str) -> Field:
    return lambda values, path, _names: in_networks(side, values, path)


def _nodes(values: Sequence[str], path: str, names: Names) -> Check:
    test = node_names(values, path)
    return constant(lambda: test(names.node().full_name))


def _node_labels(values: Sequence[str], path: str, names: Names) -> Check:
    test = selectors(values, path)
    return constant(lambda: test(names.node().labels))


def _uuids(values: Sequence[str], path: str, names: Names) -> Check:
    wanted = []
    for index, text in enumerate(values):
        try:
            wanted.append(names.ids.sequence(text))
        except ValueError as error:
            raise FieldError(f"{path}[{index}]", f"{text!r} is not a uuid") from error
    held = [sequence for sequence in wanted if sequence is not None]
    return lambda chunk: np.isin(chunk.sequences, held)


_FIELDS: dict[str, Field] = {
    "uuid": _uuids,
    "source_ip": _addresses("source"),
    "destination_ip": _addresses("destination"),
    "source_pod": _of_party("source", _pods),
    "destination_pod": _of_party("destination", _pods),
    "source_label": _of_party("source", _labels),
    "destination_label": _of_party("destination", _labels),
    "source_identity": _of_party("source", _identities),
    "destination_identity": _of_party("destination", _identities),
    "source_workload": _of_party("source", _workloads),
    "destination_workload": _of_party("destination", _workloads),
    "source_cluster_name": _of_party("source", _clusters),
    "destination_cluster_name": _of_party("destination", _clusters),
    "source_service": _services("source"),
    "destination_service": _services("destination"),
    "source_fqdn": _fqdns("source"),
    "destination_fqdn": _fqdns("destination"),
    "node_name": _nodes,
    "node_labels": _node_labels,
    "verdict": lambda values, _path, _names: column_in("verdict", values),
    "traffic_direction": lambda values, _path, _names: column_in("direction", values),
    **packet.FIELDS,
    **requests.FIELDS,
}
