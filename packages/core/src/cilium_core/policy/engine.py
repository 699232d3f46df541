# SPDX-License-Identifier: Apache-2.0
"""The policy engine: policies, identities and subjects in; the kernel's tables out, as changes.

Feed it what is known (`set_…`, `remove_…`), then `take` what changed, write that in the order of
`plan`, and report `applied`. Calls cost in proportion to what they touch. All state is derived:
after a restart, `adopt` what was recorded, feed everything again, and equal contents have equal
numbers. Pure, not thread-safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

from cilium_core.policy import explain as explaining
from cilium_core.policy.bits import Role, Use, role_of
from cilium_core.policy.entries import NO_PORTS
from cilium_core.policy.explain import Explanation
from cilium_core.policy.layout import Layouts
from cilium_core.policy.named_ports import NamedPorts
from cilium_core.policy.parts import Parts
from cilium_core.policy.peers import Peers
from cilium_core.policy.redirects import At, Redirects, RuleSet
from cilium_core.policy.resolve import Side
from cilium_core.policy.rules import Direction, Policy, Rule
from cilium_core.policy.subjects import Group, Selecting, Subjects
from cilium_core.policy.tables import Row, RowKey, Tables


class Changes(NamedTuple):
    """What differs from the last `take`, as the values that are wanted now (None: nothing).

    `bit_records` and `policy_records` (number to digest) are stored before the tables are written.
    `redirects` are, by row and identity, the L7 rules that what the row leads to proxies meets.
    `revision` is higher than the last one if any packet may be judged otherwise than before.
    """

    rows: dict[RowKey, Row | None]
    bits: dict[tuple[int, int], int | None]
    bit_records: dict[int, bytes | None]
    policy_records: dict[int, bytes | None]
    revision: int
    redirects: dict[At, RuleSet | None] = {}


class Engine:
    """Everything about policy on one node; see the module."""

    def __init__(self) -> None:
        """Start empty at revision 1."""
        self._peers = Peers()
        self._subjects = Subjects()
        self._users: Counter[Side] = Counter()  # how many groups share a side
        self._sides: WeakValueDictionary[Hashable, Side] = WeakValueDictionary()
        self._parts, self._layouts = Parts(), Layouts()
        self._was: dict[RowKey, Row | None] = {}  # rows that changed, as they were
        self.tables = Tables(bits=self._peers.bits)
        self.redirects = Redirects(self._peers.members, self._peers.labels)
        self._rejudge = False
        self.revision = 1

    def adopt(self, bits: Mapping[int, bytes], policies: Mapping[int, bytes], rev: int) -> None:
        """Take over the numbers and the revision of an earlier process, before anything else."""
        self._peers.numbers.adopt(bits)
        self._subjects.numbers.adopt(policies)
        self.revision = max(self.revision, rev)

    def adopted_all(self) -> None:
        """Say that all inputs have been fed: what was adopted and is not used may go."""
        self._flush()
        self._peers.numbers.release_adopted()
        self._subjects.numbers.release_adopted()

    def set_identity(self, identity: int, labels: Mapping[str, str]) -> None:
        """Add an identity, or change its labels."""
        self._subjects.touch_names(self._peers.set_identity(identity, labels))
        self.redirects.touch(identity)

    def remove_identity(self, identity: int) -> None:
        """Forget an identity, if it is known."""
        self._subjects.touch_names(self._peers.remove_identity(identity))
        self.redirects.touch(identity)

    def set_policies(self, owner: Hashable, policies: Sequence[Policy]) -> None:
        """Make these all the policies that an object (the owner) says."""
        self._subjects.set_policies(owner, policies)

    def remove_policies(self, owner: Hashable) -> None:
        """Forget an object's policies."""
        self._subjects.set_policies(owner, ())

    def set_subject(
        self,
        key: Hashable,
        labels: Mapping[str, str],
        ports: NamedPorts = NO_PORTS,
        on_node: bool = False,
    ) -> int:
        """Add an endpoint (or with `on_node` a node) or change it; return its policy number.

        `ports` are its own named ports. Under an old number the rows stay until `settle`, since
        the kernel's endpoint still points there.
        """
        return self._subjects.set_subject(key, labels, ports, on_node).number

    def remove_subject(self, key: Hashable) -> None:
        """Forget an endpoint or node. Its rows stay until `settle`."""
        self._subjects.remove_subject(key)

    def settle(self) -> None:
        """Say that the kernel's endpoints point at present policy numbers: the others may go."""
        for group in self._subjects.unused():
            for direction in Direction:
                self._put_rows(group, direction, {})
                self.redirects.put(group.number, direction, {})
                self._release(group.sides.get(direction))
            self._subjects.drop(group)

    def policy_number(self, key: Hashable) -> int:
        """Return a subject's policy number. KeyError for a subject that is not there."""
        return self._subjects.group(key).number

    def side(self, key: Hashable, direction: Direction) -> Side:
        """Return what policies make of a subject's direction. KeyError as above."""
        self._flush()
        return self._subjects.group(key).sides[direction]

    def explain(
        self, key: Hashable, direction: Direction, protocol: int, port: int, identity: int
    ) -> Explanation:
        """Judge a packet of a subject, with the rules that decide. KeyError as above."""
        labels = self._peers.labels(identity)
        return explaining.explain(self.side(key, direction), protocol, port, labels)

    def rules(self, number: int) -> list[Rule]:
        """Return the rules behind a policy number; none for one that nobody has."""
        group = self._subjects.numbered(number)
        policies = self._subjects.selecting(group).policies if group is not None else ()
        return [rule for policy in policies for rule in policy.rules]

    def too_wide(self) -> list[Hashable]:
        """Return the subjects that a row denies everything because the kernel cannot hold it.

        It would have peer sets in more than `resolve.MAX_CELLS` words: over 8 000 of them.
        """
        self._flush()
        return self._subjects.having(Side.too_wide)

    def bits_of(self, identity: int) -> dict[int, int]:
        """Return an identity's bits by word, as what was resolved last has them."""
        return self._peers.words(identity)

    def uses(self) -> dict[Use, int]:
        """Return every peer set in force, in each of its roles, with its bit's number."""
        self._flush()
        return self._peers.uses()

    def take(self, now: float) -> Changes:
        """Return what changed since the last call. `now` in seconds of a monotonic clock."""
        self._flush()
        held, self._peers.changed = self._peers.changed, {}
        was, self._was = self._was, {}
        bits = self.tables.bits
        rows = {key: self.tables.rows.get(key) for key in was}
        changed = Changes(
            {key: row for key, row in rows.items() if row != was[key]},
            {at: bits.get(at) for at, old in held.items() if bits.get(at, 0) != old},
            {},
            {},
            0,
        )
        redirects = self.redirects.take()
        rejudge, self._rejudge = self._rejudge or bool(redirects), False
        if (
            rejudge
            or changed.rows
            or any(_judges(at[1], held[at], m or 0) for at, m in changed.bits.items())
        ):
            self.revision += 1
        for numbers in (self._peers.numbers, self._subjects.numbers):
            numbers.expire(now)
            numbers.sent()
        return changed._replace(
            bit_records=self._peers.numbers.take_changes(),
            policy_records=self._subjects.numbers.take_changes(),
            revision=self.revision,
            redirects=redirects,
        )

    def rejudge(self) -> None:
        """Have the next changes raise the revision: a rule set's proxy came or went."""
        self._rejudge = True

    def applied(self, now: float) -> None:
        """Say that the kernel holds all that was taken."""
        self._peers.numbers.applied(now)
        self._subjects.numbers.applied(now)

    def failed(self) -> None:
        """Say that the kernel may not hold all that was taken; what is wanted is unchanged."""
        self._peers.numbers.failed()
        self._subjects.numbers.failed()

    def _flush(self) -> None:
        """Resolve the groups that something changed for."""
        dirty, self._subjects.dirty = self._subjects.dirty, {}
        stale: list[Side | None] = []
        for group in dirty:
            selecting = self._subjects.selecting(group)
            group.peer_names = selecting.names[Direction.EGRESS]
            for direction in Direction:
                side = self._resolve(group, direction, selecting)
                old = group.sides.get(direction)
                if side is not old:
                    self._hold(side)
                    stale.append(old)
                    group.sides[direction] = side
                    self._put_rows(group, direction, side.rows(group.number, self._peers.number))
                    self.redirects.put(group.number, direction, side.governed(group.number))
        for old in stale:
            self._release(old)

    def _resolve(self, group: Group, direction: Direction, selecting: Selecting) -> Side:
        names = selecting.names[direction]
        if direction is Direction.EGRESS:
            named = self._peers.ports.get(names)
        else:
            named = {name: ports for name, ports in group.ports.items() if name in names}
        key = (direction, selecting.numbers, frozenset(named.items()))
        side = self._sides.get(key)
        if side is None:
            both = zip(selecting.numbers, selecting.policies, strict=True)
            parts = [self._parts.of(number, policy, direction, named) for number, policy in both]
            side = self._sides[key] = Side(direction, parts, self._layouts)
        return side

    def _hold(self, side: Side) -> None:
        if not self._users[side]:
            self._peers.hold(side.uses)
        self._users[side] += 1

    def _release(self, side: Side | None) -> None:
        if side is not None:
            self._users[side] -= 1
            if not self._users[side]:
                del self._users[side]
                self._peers.release(side.uses)

    def _put_rows(self, group: Group, direction: Direction, rows: dict[RowKey, Row]) -> None:
        old = group.rows.get(direction, {})
        for key in old.keys() | rows.keys():
            row = rows.get(key)
            if row == old.get(key):
                continue
            self._was.setdefault(key, old.get(key))
            if row is None:
                del self.tables.rows[key]
            else:
                self.tables.rows[key] = row
        group.rows[direction] = rows


def _judges(word: int, old: int, new: int) -> bool:
    """Tell whether a change of bits may end what passed: anything but more to allow."""
    return role_of(word) is not Role.ALLOW or bool(old & ~new)
