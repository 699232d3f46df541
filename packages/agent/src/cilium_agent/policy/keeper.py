# SPDX-License-Identifier: Apache-2.0
"""Owner of the node's policy tables: feeds the engine and carries what it wants into the kernel.

Order of one flush: new prefixes get identities, with the bits that the old policies give them, and
enter the ipcache, longest first → what policies say now is told the engine → numbers are recorded →
redirects of rule sets that proxies have → the engine's steps → redirects that no row asks for go →
endpoints get the new revision, so that connections are judged again → prefixes that nothing names
leave the ipcache → their identities lose their bits. Addresses that DNS gave go the same way:
before the rows they come to identities with all labels that old and new policies ask for, after
them they keep the new ones' alone. Plain calls on the event loop. A flush that the kernel refuses
is tried again, from what the kernel holds by then.

Which bits an earlier process's policies would give new prefixes nobody knows any more, nor which
those rows would that a refused flush has left. The first flush, and one after a refused one, gives
them those of the rows that they are cut out of, so that the rows go on judging the same addresses
alike; then bits and rows become what is wanted now, in one plan.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import structlog

from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.ports import Leading, Nameless, Names, Nowhere, PolicyKernel, Prefixes
from cilium_core.addresses import Network
from cilium_core.errors import CiliumError
from cilium_core.identity import Reserved
from cilium_core.labels import LabelSet
from cilium_core.policy import named_ports
from cilium_core.policy.bits import Role, role_of
from cilium_core.policy.engine import Engine
from cilium_core.policy.plan import difference, plan
from cilium_core.policy.rules import Direction, Policy

log = structlog.get_logger(__name__)

FIRST_WAIT = 0.2
LONGEST_WAIT = 10.0
LEADING_WAIT = 5.0  # until rows under former rule sets are looked at again


class Assignment(NamedTuple):
    """What an endpoint's row in the kernel says of policy."""

    policy: int
    revision: int


class PolicyKeeper:
    """See the module. `start` once every list is in; before it, calls only feed the engine.

    `on_rows` is told, before they are written, of which policy numbers rows change and under which
    revision; `on_flush` when all is in the kernel.
    """

    def __init__(
        self,
        kernel: PolicyKernel,
        prefixes: Prefixes,
        cidrs: CidrIdentities,
        leading: Leading | None = None,
        names: Names | None = None,
    ) -> None:
        """Start with the reserved identities."""
        self.names: Names = names or Nameless()
        self.engine = Engine()
        self.cidrs = cidrs
        self.changed = asyncio.Event()
        self.flushes = self.failures = 0
        self.seconds = 0.0  # spent in flushes that went well
        self.on_flush: Callable[[], None] = lambda: None
        self.on_rows: Callable[[set[int], int], None] = lambda _numbers, _revision: None
        self._kernel = kernel
        self._prefixes = prefixes
        self._leading: Leading = leading or Nowhere()
        self._revision = 0
        self._agrees = False  # the kernel holds what the engine wanted last
        self._inherited = True  # the kernel's rows may be an earlier process's
        self._moving: set[int] = set()
        self._renewed: set[int] = set()  # their policy changed and their row does not say so yet
        self._nameless: dict[int, int] = {}
        self._own: dict[int, int] = {}  # identities of this node's endpoints
        self._orphans: set[int] = set()  # of those, whose objects are gone
        self._said: dict[Hashable, Sequence[Policy]] = {}  # not told the engine yet
        self._unshown: dict[Network, int] = {}
        self._unhidden: dict[Network, int] = {}
        self._renumber = self._other_prefixes = False  # to be told the CIDRs' owner, and names'
        self._wanted: set[Network] = set()
        self._started = False
        for member in Reserved:
            if member:
                self.engine.set_identity(int(member), {f"reserved:{member.label}": ""})

    @property
    def revision(self) -> int:
        """The revision in force."""
        return self._revision

    def adopt(self, numbers: Mapping[Network, int]) -> None:
        """Take over what the kernel holds; `numbers` are the ipcache's local identities."""
        self._revision = self._kernel.revision()
        self.engine.adopt(*self._kernel.records(), self._revision)
        self.cidrs.adopt(numbers)

    def set_identity(self, number: int, labels: LabelSet | None) -> None:
        """Take in a cluster identity, or that its object is gone.

        One that an endpoint here has stays what it is: its object is made again.
        """
        if labels is not None:
            self._orphans.discard(number)
            self.engine.set_identity(number, labels)
        elif number in self._own.values():
            self._orphans.add(number)
        else:
            self.engine.remove_identity(number)
        self.changed.set()

    def set_apiserver(self, labels: LabelSet, *, on_this_node: bool = False) -> None:
        """Say which labels API servers elsewhere carry too, and whether one is on this node."""
        server = {f"reserved:{Reserved.KUBE_APISERVER.label}": ""}
        self.engine.set_identity(int(Reserved.KUBE_APISERVER), {**server, **labels})
        host = {f"reserved:{Reserved.HOST.label}": ""}
        self.engine.set_identity(int(Reserved.HOST), {**host, **(server if on_this_node else {})})
        self.changed.set()

    def rejudge(self) -> None:
        """Have connections judged again: a proxy has what they are led to."""
        self.engine.rejudge()
        self.changed.set()

    def set_policies(self, owner: Hashable, policies: Sequence[Policy]) -> None:
        """Make these all that an object says, with the next flush."""
        self._said[owner] = policies
        self.changed.set()

    def set_prefixes(self, wanted: set[Network]) -> None:
        """Say which prefixes need identities of their own, or that their labels changed."""
        self._wanted, self._renumber = wanted, True
        self.changed.set()

    def set_names(self, selectors: Iterable[str]) -> None:
        """Say which names and patterns policies have in toFQDNs."""
        self.names.select(selectors)
        self.changed.set()

    def local_labels(self) -> dict[int, LabelSet]:
        """Return the labels of the identities of this node alone."""
        return {**self.cidrs.labels, **self.names.labels}

    def prepare(self, endpoint_id: int, identity: int, labels: LabelSet) -> None:
        """Have the kernel hold what an endpoint needs, before its own row points there.

        Until `settled` the rows that its present row points at stay.
        """
        before = self._number(endpoint_id)
        self._moving.add(endpoint_id)
        self.engine.set_identity(identity, labels)
        self._set_subject(endpoint_id, labels)
        self._belong(endpoint_id, identity)
        if before not in (None, self._number(endpoint_id)):
            self._renewed.add(endpoint_id)
        if self._started:
            self.flush()

    def settled(self, endpoint_id: int) -> None:
        """Say that the endpoint's row in the kernel has its present assignment."""
        self._moving.discard(endpoint_id)
        self._renewed.discard(endpoint_id)
        self.changed.set()

    def forget(self, endpoint_id: int) -> None:
        """Say that an endpoint is gone from the kernel."""
        self.engine.remove_subject(endpoint_id)
        self.names.forget(endpoint_id)
        self._belong(endpoint_id, None)
        self.settled(endpoint_id)

    def restore(self, endpoint_id: int, identity: int, labels: LabelSet) -> None:
        """Take in an endpoint that the kernel has already; its labels may be lost (empty)."""
        self._moving.add(endpoint_id)
        self._belong(endpoint_id, identity)
        if labels:
            self.engine.set_identity(identity, labels)
            self._set_subject(endpoint_id, labels)
        else:
            self._nameless[endpoint_id] = identity

    def assigned(self, endpoint_id: int) -> Assignment | None:
        """Return what an endpoint's row must say now; None for one that was never prepared.

        One that changes its policy gets a revision that no row ever had, so that none of its
        connections passes for one that the new policy has judged.
        """
        number = self._number(endpoint_id)
        if number is None:
            return None
        if endpoint_id in self._renewed:
            self.engine.revision += 1
            return Assignment(number, self.engine.revision)
        return Assignment(number, self._revision)

    def enforcing(self, endpoint_id: int) -> frozenset[Direction]:
        """Return the directions in which policies select an endpoint."""
        try:
            sides = [(d, self.engine.side(endpoint_id, d)) for d in Direction]
        except KeyError:
            return frozenset()
        return frozenset(d for d, side in sides if not side.default_allow or side.uses)

    def start(self, labels_of: Callable[[int], LabelSet | None]) -> None:
        """All lists are in: make the kernel hold exactly what is wanted from now on.

        `labels_of` gives an identity's labels, for endpoints whose own are lost; one that nobody
        knows has no rows, and so may neither send nor receive. Prefixes that only an earlier
        process wanted keep their identities until the first flush. What the kernel refuses is
        raised, and made up for by the next flush; until then it goes on with what it holds.
        """
        for endpoint_id, identity in self._nameless.items():
            labels = labels_of(identity)
            if labels:
                self._set_subject(endpoint_id, labels)
            else:
                log.error("endpoint without labels is cut off", endpoint=endpoint_id)
        self._nameless.clear()
        self._number_prefixes(self._wanted | self.cidrs.numbers.keys())
        self._unshown = dict(self.cidrs.numbers)
        self.names.widen(self.cidrs.numbers)
        self._meet()
        self._hear()
        self.engine.adopted_all()
        self._started = self._renumber = True
        self._take_over()
        self.names.show()
        self._write()
        self._leading.adopted_all()
        self.on_rows({key.policy for key in self.engine.tables.rows}, self._revision)
        self.on_flush()

    def flush(self) -> None:
        """Carry everything that changed into the kernel. What the kernel refuses is raised."""
        if not self._started:
            return
        if self._renumber:
            self._number_prefixes(self._wanted)
            self._renumber, self._other_prefixes = False, True
        both = {*self.cidrs.numbers, *self._unhidden} if self._other_prefixes else None
        self.names.widen(both)
        fresh = self._meet()
        if self._inherited or not self._agrees:
            self._take_over()
        else:
            if self._unshown or (fresh and self._said):
                self._introduce(fresh)
            elif fresh:
                self._write()
        self.names.show()
        self._hear()
        if not self._moving:
            self.engine.settle()
        self._write()
        self.names.narrow(self.cidrs.numbers if self._other_prefixes else None)
        if self._meet():
            self._write()
        self.names.show()
        self._other_prefixes = False
        self._forget(self.names.take_spare())
        if self._unhidden:
            self._prefixes.hide(list(self._unhidden))
            for number in self._unhidden.values():
                self.engine.remove_identity(number)
            self._unhidden = {}
            self._write()
        self.on_flush()

    async def run(self, report: Callable[[Exception | None], None]) -> None:
        """Flush whenever something changed, until cancelled; tell `report` how each went."""
        wait = FIRST_WAIT
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEADING_WAIT if self._leading.waiting else None):
                    await self.changed.wait()
            self.changed.clear()
            begun = time.monotonic()
            try:
                self.flush()
            except CiliumError as error:
                self.failures += 1
                log.warning("policy not written", error=str(error))
                report(error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                self.changed.set()
            else:
                self.flushes += 1
                self.seconds += time.monotonic() - begun
                report(None)
                wait = FIRST_WAIT

    def _introduce(self, fresh: Iterable[int]) -> None:
        """Show new prefixes with the bits that the old policies give them, and nothing else new.

        Another identity that has changed meanwhile may have done so behind the policies. Addresses
        of names go with them.
        """
        numbers = {*self._unshown.values(), *fresh}
        bits = {(n, word): mask for n in numbers for word, mask in self.engine.bits_of(n).items()}
        agrees, self._agrees = self._agrees, False
        self._kernel.apply(plan(self._kernel.tables, {}, bits))
        self._show()
        self._agrees = agrees

    def _take_over(self) -> None:
        held = self._kernel.tables
        words: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for (identity, word), mask in held.bits.items():
            words[identity][word] = mask
        bits: dict[tuple[int, int], int | None] = {}
        for prefix, around in self._prefixes.identities(self._unshown).items():
            number = self._unshown[prefix]
            if number != around:
                bits.update({(number, word): None for word in words[number]})
                bits.update({(number, word): mask for word, mask in words[around].items()})
        self._kernel.apply(plan(held, {}, {**bits, **self._least(words)}))
        self._show()
        self._inherited = False

    def _least(self, words: Mapping[int, Mapping[int, int]]) -> dict[tuple[int, int], int | None]:
        """Return the bits of names' identities that the kernel lacks, until theirs are written.

        What all of an identity's addresses are allowed now, and what any of them is denied.
        """
        places = self.names.unsettled()
        parts: defaultdict[int, list[Mapping[int, int]]] = defaultdict(list)
        for prefix, around in self._prefixes.identities(places).items():
            parts[places[prefix]].append(words.get(around, {}))
        bits: dict[tuple[int, int], int | None] = {}
        for number, held in parts.items():
            for word in {*words.get(number, ()), *(word for part in held for word in part)}:
                both = and_ if role_of(word) is Role.ALLOW else or_
                bits[number, word] = reduce(both, (part.get(word, 0) for part in held)) or None
        return bits

    def _number_prefixes(self, wanted: set[Network]) -> None:
        known = set(self.cidrs.numbers)
        change = self.cidrs.update(wanted)
        for number, labels in change.set.items():
            self.engine.set_identity(number, labels)
        self._unshown.update({p: n for p, n in self.cidrs.numbers.items() if p not in known})
        for prefix, number in change.gone.items():
            if self._unshown.pop(prefix, None) is None:
                self._unhidden[prefix] = number

    def _show(self) -> None:
        self._prefixes.show(self._unshown)
        for prefix in self._unshown:
            replaced = self._unhidden.pop(prefix, None)
            if replaced is not None:  # the row is another identity's now
                self.engine.remove_identity(replaced)
        self._unshown = {}

    def _meet(self) -> set[int]:
        """Tell the engine of names' new identities; return them."""
        fresh = self.names.take_fresh()
        for number, labels in fresh.items():
            self.engine.set_identity(number, labels)
        return set(fresh)

    def _forget(self, numbers: Iterable[int]) -> None:
        """Let identities of names go, that no row has any more."""
        gone = list(numbers)
        for number in gone:
            self.engine.remove_identity(number)
        if gone:
            self._write()

    def _hear(self) -> None:
        for owner, policies in self._said.items():
            self.engine.set_policies(owner, policies)
        self._said = {}

    def _belong(self, endpoint_id: int, identity: int | None) -> None:
        before = self._own.pop(endpoint_id, None)
        if identity is not None:
            self._own[endpoint_id] = identity
        if before in self._orphans and before not in self._own.values():
            self._orphans.discard(before)
            self.engine.remove_identity(before)

    def _number(self, endpoint_id: int) -> int | None:
        try:
            return self.engine.policy_number(endpoint_id)
        except KeyError:
            return None

    def _write(self) -> None:
        now = time.monotonic()
        changes = self.engine.take(now)
        held = self._kernel.tables
        rows, bits = changes.rows, changes.bits
        wanted = (rows, bits) if self._agrees else difference(held, self.engine.tables)
        self._agrees = False  # until all is through: a part may be written
        self._leading.take_in(changes.redirects)
        try:
            self._kernel.record(changes.bit_records, changes.policy_records)
            self.on_rows({key.policy for key in wanted[0]}, changes.revision)
            self._leading.before_rows()
            self._kernel.apply(plan(held, *wanted))
            self._leading.after_rows()
            if changes.revision != self._revision:
                self._kernel.set_revision(changes.revision)
        except BaseException:
            self.engine.failed()
            raise
        self._agrees = True
        self._revision = changes.revision
        self.engine.applied(now)

    def _set_subject(self, endpoint_id: int, labels: LabelSet) -> None:
        ports = named_ports.parse(labels.get(named_ports.LABEL, ""))
        self.engine.set_subject(endpoint_id, labels, ports)
