# SPDX-License-Identifier: Apache-2.0
"""The node's names: answers in, identities of addresses in the kernel before the call returns.

An answer whose addresses come to identities that the kernel knows is rows of the ipcache and
nothing else. A new set of labels is an identity: policy's keeper gives it bits and redirects first.
When policies come to ask for other names, or name other prefixes, the keeper has every address
moved that this concerns: see `policy.keeper`. What the kernel refuses waits and is tried again.
Plain calls on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import NamedTuple, Protocol

from cilium_agent.fqdn.identities import Around, NameIdentities, label_texts
from cilium_agent.fqdn.journal import Journal
from cilium_core.addresses import Address, Network
from cilium_core.fqdn import saved
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.lookups import Pair
from cilium_core.labels import LabelSet
from cilium_core.policy.patterns import dns_name


class Rows(Protocol):
    """The ipcache, as far as names go."""

    def write(self, numbers: Mapping[Address, int | None]) -> None:
        """Make rows or take them away (None); done when the call returns, or raises."""

    def hold(self, numbers: Mapping[Address, int | None]) -> None:
        """Say the same, for the next write."""


class Answer(NamedTuple):
    """What a pod is about to be answered. The TTL is in seconds."""

    client: Address
    name: str
    addresses: tuple[Address, ...]
    ttl: float


class Names:
    """See the module. `flush` is the keeper's; `endpoint_at` knows whose an address is."""

    def __init__(
        self,
        cache: NameCache,
        identities: NameIdentities,
        around: Around,
        rows: Rows,
        journal: Journal,
        *,
        preallocate: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """With `preallocate` every selector has an identity before any name that it matches."""
        self.flush: Callable[[], None] = lambda: None
        self.endpoint_at: Callable[[Address], int | None] = lambda _address: None
        self.cache, self.identities = cache, identities
        self.deletions = 0  # pairs that ended or were forgotten
        self._around, self._rows, self._journal = around, rows, journal
        self._preallocate, self.clock = preallocate, clock
        self._wanted: frozenset[str] = frozenset()
        self._assigned: dict[Address, int] = {}
        self._pending: dict[Address, int | None] = {}
        self._fresh: dict[int, LabelSet] = {}
        self._settled: set[int] = set()  # the kernel has their bits
        self._doubted = True  # what is assigned may be an earlier process's
        identities.on_number = self._numbered
        cache.on_gone = self._gone

    def adopt(
        self, numbers: Mapping[int, Iterable[str]], rows: Mapping[Network, int]
    ) -> dict[Network, int]:
        """Take over numbers and the rows that have them; return the rows of others."""
        self.identities.adopt(numbers)
        mine = {p: n for p, n in rows.items() if n in numbers and p.prefixlen == p.max_prefixlen}
        for number in set(mine.values()):
            texts = (text.partition("=") for text in numbers[number])
            self.identities.number({key: value for key, _, value in texts})
        for prefix, number in mine.items():
            self._assigned[prefix.network_address] = number
            self.identities.use(number, 1)
        self._settled = set(mine.values())
        self._rows.hold(dict(self._assigned))
        now = self.clock()
        self.cache.end(now)
        for names in self.cache.endpoints.values():  # nobody knows when connections were met last
            names.meet(now, [address for address, _ in names.deferred.items()])
        return {prefix: number for prefix, number in rows.items() if prefix not in mine}

    @property
    def labels(self) -> Mapping[int, LabelSet]:
        """The labels of every identity of names."""
        return self.identities.labels

    def learn(self, answers: Iterable[Answer]) -> list[bool]:
        """Take answers in; return whether a policy asks for each name, once the kernel knows.

        What the kernel refuses is raised; the answers are remembered all the same.
        """
        now, told, touched = self.clock(), [], set[Address]()
        for answer in answers:
            endpoint = self.endpoint_at(answer.client)
            if endpoint is None:
                told.append(False)
                continue
            name, addresses = dns_name(answer.name), [a for a in answer.addresses if _outside(a)]
            texts = [str(address) for address in addresses]
            self._journal.put(saved.Learned(now, endpoint, name, answer.ttl, texts))
            touched |= self.cache.learn(now, endpoint, name, addresses, answer.ttl)
            told.append(bool(self.cache.selection.asks_for(name)))
        self._carry(touched)
        return told

    def end(self) -> None:
        """Let answers end whose TTL is over; call it every second. Errors as `learn`."""
        self._carry(self.cache.end(self.clock()))

    def walked(self, began: float, connections: Mapping[int, Iterable[Address]]) -> None:
        """Take in a whole walk over the connections: endpoint → addresses. Errors as `learn`."""
        self._carry(self.cache.walked(began, self.clock(), connections))

    def waiting(self) -> set[int]:
        """Return the endpoints with addresses that only connections may keep."""
        return {number for number, names in self.cache.endpoints.items() if names.deferred}

    def forget(self, endpoint: int) -> None:
        """Forget an endpoint; rows go with the next flush or end."""
        if endpoint in self.cache.endpoints:
            self._journal.put(saved.Forgotten(endpoint))
            self._assign(self.cache.forget(endpoint))

    def retain(self, endpoints: Iterable[int]) -> None:
        """Forget all endpoints but these."""
        for gone in self.cache.endpoints.keys() - set(endpoints):
            self.forget(gone)

    def clean(self, pairs: Iterable[tuple[int, Pair]]) -> None:
        """Forget pairs of endpoints at once, as a user asks. Errors as `learn`."""
        touched = set[Address]()
        for endpoint, (name, address) in list(pairs):
            touched |= self.cache.gone(endpoint, name, [address])
        self._carry(touched)

    def select(self, selectors: Iterable[str]) -> None:
        """Say which selectors policies have in toFQDNs, for the keeper's next flush."""
        self._wanted = frozenset(selectors)

    def widen(self, prefixes: Iterable[Network] | None) -> None:
        """Let addresses have what old and new policies ask for. `prefixes` None: as before."""
        self._choose(self.cache.selection.selectors | self._wanted, prefixes)

    def narrow(self, prefixes: Iterable[Network] | None) -> None:
        """Let addresses have what the policies ask for now."""
        self._choose(self._wanted, prefixes)

    def take_fresh(self) -> Mapping[int, LabelSet]:
        """Return the identities that are new since the last call."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def unsettled(self) -> dict[Network, int]:
        """Return the rows that wait whose identities have no bits in the kernel yet."""
        return {
            ip_network(address): number
            for address, number in self._pending.items()
            if number is not None and number not in self._settled
        }

    def show(self) -> None:
        """Write the rows that wait: the kernel has the bits of all identities taken as fresh."""
        self._settled = set(self.identities.labels) - self._fresh.keys()
        self._write()

    def take_spare(self) -> list[int]:
        """Forget and return identities that no row has any more."""
        spare = [] if self._pending else self.identities.take_spare()
        self._settled.difference_update(spare)
        return spare

    def state(self) -> Iterator[Iterable[saved.Line]]:
        """Yield all that there is, for the journal, a piece at a time."""
        yield [
            saved.Numbered(number, label_texts(labels))
            for number, labels in self.identities.labels.items()
        ]
        for endpoint in list(self.cache.endpoints):
            if names := self.cache.endpoints.get(endpoint):
                yield saved.state(endpoint, names)

    def _choose(self, selectors: frozenset[str], prefixes: Iterable[Network] | None) -> None:
        before = self.cache.selection.selectors
        changed = self.cache.select(selectors) if selectors != before else set()
        if prefixes is not None:
            self._around.replace(prefixes)
        if prefixes is not None or self._doubted:
            changed |= {*self._assigned, *self.cache.selection.selected()}
            self._doubted = False
        if self._preallocate and selectors != before:
            self.identities.reserve(selectors)
        self._assign(changed)

    def _carry(self, touched: Iterable[Address]) -> None:
        self._assign(touched)
        self._journal.flush()
        if not self._pending:
            return
        if self._settled.issuperset(n for n in self._pending.values() if n is not None):
            self._write()
        else:
            self.flush()

    def _assign(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            selectors = self.cache.selection.selectors_of(address)
            former = self._assigned.get(address)
            if selectors:
                around = self._around.labels(address)
                labels = self.identities.of(selectors, around, address.version)
                number = self.identities.number(labels)
                if number == former:
                    continue
                self._assigned[address] = self._pending[address] = number
                self.identities.use(number, 1)
            elif former is not None:
                del self._assigned[address]
                self._pending[address] = None
            if former is not None:
                self.identities.use(former, -1)

    def _write(self) -> None:
        self._journal.flush()
        if self._pending:
            self._rows.write(self._pending)
            self._pending = {}

    def _numbered(self, number: int, labels: LabelSet) -> None:
        self._fresh[number] = labels
        self._journal.put(saved.Numbered(number, label_texts(labels)))

    def _gone(self, endpoint: int, pairs: frozenset[Pair]) -> None:
        self.deletions += len(pairs)
        for said in saved.gone(endpoint, pairs):
            self._journal.put(said)


def _outside(address: Address) -> bool:
    """Tell whether an answer may mean an address: not what stands for none, many or oneself.

    An IPv4 address inside IPv6 would be the row of the IPv4 address.
    """
    mapped = address.version == 6 and address.ipv4_mapped is not None
    return not (mapped or address.is_unspecified or address.is_loopback or address.is_multicast)
