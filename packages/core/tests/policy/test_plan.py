# SPDX-License-Identifier: Apache-2.0
"""Every prefix of every batch of writes, with kills and adoption in between, keeps the promise."""

from copy import deepcopy

from hypothesis import given

from cilium_core.policy.bits import Role, role_of
from cilium_core.policy.decide import Verdict, decide
from cilium_core.policy.engine import Engine
from cilium_core.policy.plan import apply, difference, plan
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Cell, Row, RowKey, Step, Tables

from .generate import CASES, IDENTITIES, PORTS, Cluster, examples


def verdicts(tables, packets, peers):
    """Return the verdict on every (packet, identity), packets being (policy, direction, …)."""
    return {
        (packet, identity): decide(tables, *packet, identity).verdict
        for packet in packets
        for identity in peers
    }


def single_writes(steps):
    for step in steps:
        assert bool(step.rows) != bool(step.bits)
        for key, row in step.rows.items():
            yield Step(rows={key: row})
        for at, mask in step.bits.items():
            yield Step(bits={at: mask})


def replay(kernel, writes, wanted, packets, peers, excepted=()):
    """Write one by one, looking at every packet after each.

    With identities excepted, what changes both rows and them may also lead to a proxy that has
    no listener for them, which is a drop.
    """
    old, new = verdicts(kernel, packets, peers), verdicts(wanted, packets, peers)
    for write in writes:
        apply(kernel, write)
        for at, between in verdicts(kernel, packets, peers).items():
            ends = {old[at], new[at]}
            if between is Verdict.ALLOW:
                assert Verdict.ALLOW in ends, (at, write)
            elif at[1] not in excepted:
                assert ends != {Verdict.ALLOW}, (at, write)
                assert between is not Verdict.L7 or ends & {Verdict.L7, Verdict.ALLOW}, (at, write)


def random_row(rng, numbers):
    masks = {}
    for number in numbers:
        if rng.random() < 0.4:
            masks[number // 64] = masks.get(number // 64, 0) | 1 << number % 64
    cells = [
        Cell(word, *(mask if role_of(word) is role else 0 for role in Role))
        for word, mask in sorted(masks.items())
    ]
    flags = (rng.random() < 0.3, rng.random() < 0.1, rng.random() < 0.1)
    return Row(*flags, tuple(cells), known_only=rng.random() < 0.3)


def random_tables(rng, numbers, members):
    """Rows of nested prefixes over some numbers; bits as the members of each number say."""
    rows = {}
    for bits in (None, 0, 1, 2, 3):
        for port in (0,) if not bits else (0, 1 << 16 - bits):
            key = RowKey(1, Direction.INGRESS, 0 if bits is None else 6, port, bits or 0)
            if bits is None or rng.random() < 0.5:
                rows[key] = random_row(rng, numbers)
    tables = Tables(rows)
    for number in numbers:
        for identity in members[number]:
            at = identity, number // 64
            tables.bits[at] = tables.bits.get(at, 0) | 1 << number % 64
    return tables


def replay_random(rng, rows_change, identities_change):
    # Two bits in each of two words of each role; members differ where an identity changes.
    numbers = [word * 64 + bit for word in (0, 4, 1, 5, 2, 6) for bit in (0, 1)]
    kept = {n: {i for i in (1, 2, 3) if rng.random() < 0.5} for n in numbers}
    others = (4, 5) if identities_change else ()
    then = {n: kept[n] | {i for i in others if rng.random() < 0.5} for n in numbers}
    now = {n: kept[n] | {i for i in others if rng.random() < 0.5} for n in numbers}
    used = rng.sample(numbers, 8), rng.sample(numbers, 8)
    held = random_tables(rng, used[0] if rows_change else numbers, then)
    wanted = random_tables(rng, used[1] if rows_change else numbers, now)
    if not rows_change:
        wanted.rows = dict(held.rows)
    writes = list(single_writes(plan(held, *difference(held, wanted))))
    packets = [(1, Direction.INGRESS, 6, port << 13) for port in range(8)]
    packets.append((1, Direction.INGRESS, 17, 0))
    mixed = rows_change and identities_change
    replay(held, writes, wanted, packets, (1, 2, 3, 4, 5, 9), (4, 5) if mixed else ())
    assert held == wanted


@given(CASES)
@examples(1.5)
def test_rows_change_without_a_gap(rng):
    replay_random(rng, rows_change=True, identities_change=False)


@given(CASES)
@examples(1.5)
def test_identities_change_without_a_gap(rng):
    replay_random(rng, rows_change=False, identities_change=True)


@given(CASES)
@examples(1.5)
def test_both_change_and_nothing_opens(rng):
    replay_random(rng, rows_change=True, identities_change=True)


PACKETS = [
    (policy, direction, protocol, port)
    for policy in range(1, 6)
    for direction in Direction
    for protocol, ports in ((6, PORTS[::2]), (17, [53, 80]), (47, [0]))
    for port in ports
]
PEERS = [*IDENTITIES, 9999]


def numbers_in(tables):
    """Return the numbers of all bits in rows and identities."""
    words = [
        (cell.word, cell.allow | cell.deny | cell.l7)
        for r in tables.rows.values()
        for cell in r.cells
    ]
    words += [(word, mask) for (_, word), mask in tables.bits.items()]
    return {word * 64 + bit for word, mask in words for bit in range(64) if mask >> bit & 1}


class Node:
    """A kernel that outlives the engines that write it, and the records beside it."""

    def __init__(self, rng):
        self.rng, self.kernel = rng, Tables()
        self.bit_records, self.policy_records, self.revision = {}, {}, 0
        self.now, self.last_used = 0.0, {}
        self.cluster = Cluster.random(rng)
        self.labels_then = {}
        self.start()

    def start(self):
        """Start a new engine with what an earlier one left; its first batch is a difference."""
        self.engine = Engine()
        self.engine.adopt(self.bit_records, self.policy_records, self.revision)
        self.cluster.tell(self.engine, self.rng)
        self.engine.adopted_all()
        self.fresh = True

    def batch(self, kill):
        """Write what changed; with `kill` the process dies after some of the writes."""
        self.now += 0.6
        self.engine.settle()
        changes = self.engine.take(self.now)
        for number, content in changes.bit_records.items():
            # A number may change its meaning only a second after it left the kernel.
            if self.bit_records.get(number) != content:
                assert self.now - self.last_used.get(number, -1) >= 1
        self.record(self.bit_records, changes.bit_records)
        self.record(self.policy_records, changes.policy_records)
        self.revision = changes.revision
        wanted = self.engine.tables
        if self.fresh:
            steps = plan(self.kernel, *difference(self.kernel, wanted))
        else:
            steps = plan(self.kernel, changes.rows, changes.bits)
        self.fresh = False
        writes = list(single_writes(steps))
        changed = {
            peer
            for peer in PEERS
            if self.labels_then.get(peer) != self.cluster.identities.get(peer)
        }
        excepted = changed if any(write.rows for write in writes) else ()
        if kill:
            del writes[self.rng.randint(0, len(writes)) :]
        before = numbers_in(self.kernel)
        replay(self.kernel, writes, wanted, PACKETS, PEERS, excepted)
        used = before | numbers_in(self.kernel)
        self.last_used.update(dict.fromkeys(used, self.now))
        if kill:
            self.labels_then.update(dict.fromkeys(changed, "half-written"))
            self.start()
        else:
            assert self.kernel == wanted
            self.labels_then = deepcopy(self.cluster.identities)
            self.engine.applied(self.now)

    def record(self, records, changed):
        for number, content in changed.items():
            records[number] = content
            if content is None:
                del records[number]


@given(CASES)
@examples(0.25)
def test_engines_that_die_half_way_open_nothing(rng):
    node = Node(rng)
    for _ in range(5):
        for _ in range(rng.randint(0, 2)):
            node.cluster.change(rng, node.engine)
        node.batch(kill=rng.random() < 0.4)
    node.batch(kill=False)


def test_writes_that_change_nothing_are_left_out():
    key = RowKey(1, Direction.INGRESS)
    tables = Tables({key: Row()}, {(256, 0): 1})
    assert plan(tables, {key: Row()}, {(256, 0): 1, (257, 0): None}) == []


def test_rows_are_written_longest_first_and_deleted_shortest_first():
    def key(bits):
        return RowKey(1, Direction.INGRESS, Protocol.TCP, 0, bits)

    held = Tables({key(3): Row(True), key(9): Row(True)}, {})
    rows = {key(3): None, key(9): None, key(2): Row(), key(16): Row(), key(5): Row()}
    written, deleted = plan(held, rows, {})
    assert list(written.rows) == [key(16), key(5), key(2)]
    assert list(deleted.rows) == [key(3), key(9)]


def test_a_new_identity_is_held_back_before_it_is_let_in():
    bits = {(256, 0): 1, (256, 1): 2, (256, 2): 4, (256, 4): 8}
    steps = plan(Tables(), {}, bits)
    assert [set(step.bits) for step in steps] == [{(256, 1)}, {(256, 2)}, {(256, 0), (256, 4)}]
    held = Tables({}, dict(bits))
    steps = plan(held, {}, dict.fromkeys(bits))
    assert [set(step.bits) for step in steps] == [{(256, 0), (256, 4)}, {(256, 2)}, {(256, 1)}]


def test_a_new_identity_waits_for_rows_that_will_no_longer_allow_it():
    key = RowKey(1, Direction.INGRESS)
    held = Tables({key: Row(cells=(Cell(0, 1, 0, 0),))}, {})
    steps = plan(held, {key: Row()}, {(256, 0): 1})
    assert [bool(step.rows) for step in steps] == [True, False]
