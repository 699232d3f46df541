# SPDX-License-Identifier: Apache-2.0
"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: `spec`, `specs` and their sections. Pure.

A section turns default deny on when it has an element; an empty list is as good as none.
`enableDefaultDeny` has the last word, either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cilium_core.policy.language import elements, scope
from cilium_core.policy.language.fields import Field, one_of, shown
from cilium_core.policy.language.l7 import Place
from cilium_core.policy.language.scope import Scope
from cilium_core.policy.rules import Direction, Origin, Policy, Rule, Selector

CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"

_SECTIONS = {
    "ingress": (Direction.INGRESS, False),
    "ingressDeny": (Direction.INGRESS, True),
    "egress": (Direction.EGRESS, False),
    "egressDeny": (Direction.EGRESS, True),
}
_SUBJECTS = ("endpointSelector", "nodeSelector")
_OTHERS = ("enableDefaultDeny", "labels", "description", "log")
_LONGEST_LOG = 32
_PRINTABLE = re.compile(r"[ -~]*")


def policies(members: dict[str, Field], where: Scope, origin: Origin) -> Iterator[Policy]:
    """Yield the policy of `spec` and those of `specs`; at least one of them is there."""
    found = [members["spec"]] if "spec" in members else []
    if "specs" in members:
        found += members["specs"].items()
        if not found and members["specs"].value == []:
            members["specs"].refuse("at least one is needed")
    for field in found:
        if policy := _policy(field, where, origin):
            yield policy


@dataclass(frozen=True, slots=True)
class _Subject:
    selector: Selector
    on_nodes: bool


def _policy(field: Field, where: Scope, origin: Origin) -> Policy | None:
    if not field.is_object():
        return None
    members = field.members((*_SUBJECTS, *_SECTIONS, *_OTHERS))
    subject = _subject(field, members, where)
    sections = {name: members[name].items() for name in _SECTIONS if name in members}
    if all(members[name].value == [] for name in sections):
        field.refuse(f"at least one element in {one_of(_SECTIONS)} is needed")
    denied = _default_deny(members, sections)
    labels = _labels(members["labels"]) if "labels" in members else ()
    log = _log(members["log"]) if "log" in members else ""
    if "description" in members:
        members["description"].text()
    where = replace(where, of_init=scope.selects_init(subject.selector))
    rules: list[Rule] = []
    for name, items in sections.items():
        direction, deny = _SECTIONS[name]
        place = Place(direction, deny, subject.on_nodes, direction not in denied)
        for item in items:
            rules += elements.rules(item, place, where, replace(origin, field=item.path))
    return Policy(
        origin=replace(origin, field=field.path),
        subject=subject.selector,
        default_deny=denied,
        rules=tuple(rules),
        on_nodes=subject.on_nodes,
        labels=labels,
        log=log,
    )


def _subject(field: Field, members: dict[str, Field], where: Scope) -> _Subject:
    found = [name for name in _SUBJECTS if name in members]
    if where.namespace and "nodeSelector" in members:
        members["nodeSelector"].refuse(
            f"the host firewall is not available yet, and only a {CLUSTERWIDE} may select nodes; "
            "use endpointSelector"
        )
    elif len(found) != 1:
        field.refuse(
            "endpointSelector is needed; {} selects every pod of the namespace"
            if where.namespace
            else "exactly one of endpointSelector and nodeSelector is needed; {} selects all"
        )
    if not found:
        return _Subject(Selector(), on_nodes=False)
    return _Subject(scope.subject(members[found[0]], where), found[0] == "nodeSelector")


def _default_deny(
    members: dict[str, Field], sections: dict[str, list[Field]]
) -> frozenset[Direction]:
    denied = {_SECTIONS[name][0] for name, items in sections.items() if items}
    if "enableDefaultDeny" not in members:
        return frozenset(denied)
    chosen = members["enableDefaultDeny"].members(("ingress", "egress"))
    for name, field in chosen.items():
        direction = Direction[name.upper()]
        denied = denied | {direction} if field.flag() else denied - {direction}
    return frozenset(denied)


def _labels(field: Field) -> tuple[str, ...]:
    found = []
    for item in field.items():
        if not item.is_object():
            continue
        members = item.members(("key", "value", "source"))
        texts = {name: member.text() or "" for name, member in members.items()}
        if "key" not in members:
            item.refuse_member("key")
        value = f"={texts['value']}" if texts.get("value") else ""
        found.append(f"{texts.get('source') or 'unspec'}:{texts.get('key')}{value}")
    return tuple(sorted(found))


def _log(field: Field) -> str:
    members = field.members(("value",))
    if "value" not in members:
        return ""
    text = members["value"].text() or ""
    if len(text) > _LONGEST_LOG or not _PRINTABLE.fullmatch(text):
        members["value"].refuse(
            f"{shown(text)}: up to {_LONGEST_LOG} printable ASCII characters can stand here"
        )
    return text
