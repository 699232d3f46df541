# SPDX-License-Identifier: Apache-2.0
"""Who policies select: endpoints and nodes, those that are alike sharing one resolved policy.

A group is everyone with the same labels and named ports; it has a policy number and the rows under
it. Pure, not thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cilium_core.identity import canonical_key
from cilium_core.labels import LabelSet
from cilium_core.policy import named_ports
from cilium_core.policy.entries import names
from cilium_core.policy.index import LabelIndex, SelectorIndex, positions
from cilium_core.policy.named_ports import NamedPorts
from cilium_core.policy.numbers import PolicyNumbers, digest
from cilium_core.policy.resolve import Side
from cilium_core.policy.rules import Direction, Policy
from cilium_core.policy.tables import Row, RowKey


@dataclass(slots=True, eq=False)
class Group:
    """Subjects with equal labels, named ports and kind."""

    item: int
    number: int
    labels: LabelSet
    ports: NamedPorts
    on_node: bool
    content: bytes
    policies: set[int]
    keys: set[Hashable] = field(default_factory=set)
    sides: dict[Direction, Side] = field(default_factory=dict)
    rows: dict[Direction, dict[RowKey, Row]] = field(default_factory=dict)
    peer_names: frozenset[str] = frozenset()  # named ports of peers that its rules name


@dataclass(frozen=True)
class Selecting:
    """Policies that select a group, in an order that only they determine, and their port names."""

    numbers: tuple[int, ...]
    policies: Sequence[Policy]
    names: Mapping[Direction, frozenset[str]]


class Subjects:
    """Groups and policies, and which of them belong together."""

    def __init__(self) -> None:
        """Start without either."""
        self.numbers = PolicyNumbers()
        self.dirty: dict[Group, None] = {}  # to be resolved again
        self._groups: dict[bytes, Group] = {}
        self._by_key: dict[Hashable, Group] = {}
        self._items: dict[int, Group] = {}
        self._spare: list[int] = []
        self._index = LabelIndex()
        self._policies: dict[int, Policy] = {}
        self._selecting: dict[frozenset[int], Selecting] = {}  # as long as no policy changes
        self._owned: dict[Hashable, list[int]] = {}
        self._selectors: SelectorIndex[int] = SelectorIndex()
        self._next = 0

    def group(self, key: Hashable) -> Group:
        """Return a subject's group. KeyError for a subject that is not there."""
        return self._by_key[key]

    def set_subject(
        self, key: Hashable, labels: Mapping[str, str], ports: NamedPorts, on_node: bool
    ) -> Group:
        """Add a subject or change it, and return its group."""
        text = f"{canonical_key(labels)}\n{named_ports.render(ports)}\n{on_node}"
        content = digest(text)
        group = self._groups.get(content) or self._new_group(content, labels, ports, on_node)
        self.remove_subject(key)
        self._by_key[key] = group
        group.keys.add(key)
        return group

    def remove_subject(self, key: Hashable) -> None:
        """Forget a subject; its group stays until it is `drop`ped."""
        group = self._by_key.pop(key, None)
        if group is not None:
            group.keys.discard(key)

    def unused(self) -> list[Group]:
        """Return the groups that nobody is in."""
        return [group for group in self._groups.values() if not group.keys]

    def numbered(self, number: int) -> Group | None:
        """Return the group that has a policy number."""
        return next((group for group in self._groups.values() if group.number == number), None)

    def drop(self, group: Group) -> None:
        """Forget a group."""
        del self._groups[group.content], self._items[group.item]
        self._index.remove(group.item, group.labels)
        self._spare.append(group.item)
        self.dirty.pop(group, None)
        self.numbers.release(group.number)

    def set_policies(self, owner: Hashable, policies: Sequence[Policy]) -> None:
        """Make these the policies of an owner (one object may say several), instead of its old."""
        policies = list(dict.fromkeys(policies))
        self._selecting.clear()
        old = {self._policies[number]: number for number in self._owned.pop(owner, ())}
        kept = [old.pop(policy, None) for policy in policies]
        for number in old.values():
            self._remove_policy(number)
        numbers = [
            number if number is not None else self._add_policy(policy)
            for number, policy in zip(kept, policies, strict=True)
        ]
        if numbers:
            self._owned[owner] = numbers

    def selecting(self, group: Group) -> Selecting:
        """Return the policies that select a group."""
        chosen = frozenset(group.policies)
        found = self._selecting.get(chosen)
        if found is None:
            numbers = tuple(sorted(chosen, key=lambda n: (_order(self._policies[n]), n)))
            policies = [self._policies[number] for number in numbers]
            found = Selecting(numbers, policies, {d: names(policies, d) for d in Direction})
            self._selecting[chosen] = found
        return found

    def having(self, wanted: Callable[[Side], bool]) -> list[Hashable]:
        """Return the subjects with a side that is wanted."""
        groups = self._groups.values()
        return [key for g in groups if any(map(wanted, g.sides.values())) for key in g.keys]

    def touch_names(self, changed: Iterable[str]) -> None:
        """Have the groups resolved again whose rules name these ports of peers."""
        wanted = frozenset(changed)
        if wanted:
            self.dirty.update((g, None) for g in self._items.values() if g.peer_names & wanted)

    def _new_group(
        self, content: bytes, labels: Mapping[str, str], ports: NamedPorts, on_node: bool
    ) -> Group:
        item = self._spare.pop() if self._spare else len(self._items)
        selected = {
            number
            for number in self._selectors.match(labels)
            if self._policies[number].on_nodes == on_node
        }
        number = self.numbers.acquire(content)
        group = Group(item, number, dict(labels), ports, on_node, content, selected)
        self._groups[content] = self._items[item] = group
        self._index.add(item, group.labels)
        self.dirty[group] = None
        return group

    def _add_policy(self, policy: Policy) -> int:
        self._next += 1
        self._policies[self._next] = policy
        self._selectors.add(self._next, policy.subject)
        for group in self._selected(policy):
            group.policies.add(self._next)
            self.dirty[group] = None
        return self._next

    def _remove_policy(self, number: int) -> None:
        policy = self._policies.pop(number)
        self._selectors.remove(number, policy.subject)
        for group in self._selected(policy):
            group.policies.discard(number)
            self.dirty[group] = None

    def _selected(self, policy: Policy) -> list[Group]:
        groups = (self._items[item] for item in positions(self._index.select(policy.subject)))
        return [group for group in groups if group.on_node == policy.on_nodes]


def _order(policy: Policy) -> tuple[str, str, str, str]:
    origin = policy.origin
    return origin.kind, origin.namespace, origin.name, origin.field
