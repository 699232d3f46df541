# SPDX-License-Identifier: Apache-2.0
"""The memory of DNS against a model that keeps lists and computes everything again each time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cilium_core.addresses import Address
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.limits import Limits
from cilium_core.fqdn.saved import line, replay, state

Key = tuple[int, str, Address]  # endpoint, name, address

ADDRESSES = [ip_address(f"192.0.2.{n}") for n in range(5)] + [ip_address("2001:db8::1")]
NAMES = ["a.test", "b.test", "www.a.test", "x.www.a.test", "other"]
SELECTORS = ["a.test", "*.test", "**.a.test", "*", "w*w.a.test", "none"]
EXPRESSIONS = {
    "a.test": r"a\.test",
    "*.test": r"[a-z]*\.test",
    "**.a.test": r"([a-z]+\.)+a\.test",
    "*": r".*",
    "w*w.a.test": r"w[a-z]*w\.a\.test",
    "none": r"none",
}
ENDPOINTS = st.integers(1, 3)


class Model:
    """Two flat tables; nothing derived is kept."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.live: dict[Key, tuple[float, float]] = {}  # expires, learned
        self.kept: set[Key] = set()
        self.since: dict[tuple[int, Address], float] = {}
        self.alive: dict[tuple[int, Address], float] = {}

    def learn(self, now: float, endpoint: int, name: str, addresses: set[Address], ttl: float):
        end = now + max(min(ttl, self.limits.longest_ttl), self.limits.min_ttl)
        for address in addresses:
            key = endpoint, name, address
            if key in self.kept:
                self.unkeep(key)
            if key not in self.live or self.live[key][0] < end:
                self.live[key] = end, now
        mine = [key for key in self.live if key[:2] == (endpoint, name)]
        mine.sort(key=lambda key: (*self.live[key], key[2].packed))
        crowded = mine[: max(0, len(mine) - self.limits.per_name)]
        rest = [key for key in self.live if key[0] == endpoint and key not in crowded]
        rest.sort(key=lambda key: (self.live[key][0], key[1], key[2].packed))
        self.keep(now, crowded + rest[: max(0, len(rest) - self.limits.pairs)])

    def keep(self, now: float, keys: Iterable[Key]) -> None:
        keys = list(keys)
        for key in keys:
            del self.live[key]
            place = key[0], key[2]
            self.kept.add(key)
            self.since[place] = max(now, self.since.get(place, now))
            self.alive.setdefault(place, float("-inf"))
        for endpoint, name in sorted({key[:2] for key in keys}):
            mine = [key for key in self.kept if key[:2] == (endpoint, name)]
            self.crowd(mine, self.limits.per_name)
        for endpoint in {key[0] for key in keys}:
            places = {key[2]: key for key in self.kept if key[0] == endpoint}
            order = self.sorted(list(places.values()))
            for _, _, address in order[: max(0, len(order) - self.limits.deferred)]:
                for key in [key for key in self.kept if (key[0], key[2]) == (endpoint, address)]:
                    self.unkeep(key)

    def crowd(self, keys: list[Key], room: int) -> None:
        for key in self.sorted(keys)[: max(0, len(keys) - room)]:
            self.unkeep(key)

    def sorted(self, keys: list[Key]) -> list[Key]:
        def order(key: Key) -> tuple[float, float, bytes]:
            place = key[0], key[2]
            return self.alive[place], self.since[place], key[2].packed

        return sorted(keys, key=order)

    def unkeep(self, key: Key) -> None:
        self.kept.remove(key)
        if not any((one[0], one[2]) == (key[0], key[2]) for one in self.kept):
            del self.since[key[0], key[2]], self.alive[key[0], key[2]]

    def end(self, now: float) -> None:
        ended = [key for key, (end, _) in self.live.items() if end <= now]
        for endpoint in {key[0] for key in ended}:
            self.keep(now, [key for key in ended if key[0] == endpoint])

    def walked(self, began: float, now: float, met: dict[int, set[Address]]) -> None:
        for place in self.alive:
            if place[1] in met.get(place[0], ()):
                self.alive[place] = max(self.alive[place], now)
        for key in list(self.kept):
            place = key[0], key[2]
            silent = self.alive[place] < began - self.limits.idle_grace
            if self.since[place] < began and silent:
                self.dead.append(key)

    dead: list[Key]

    def selectors(self, selected: set[str]) -> dict[Address, set[str]]:
        found: dict[Address, set[str]] = {}
        for _, name, address in [*self.live, *self.kept]:
            for text in selected:
                if re.fullmatch(EXPRESSIONS[text], name):
                    found.setdefault(address, set()).add(text)
        return found


class Memory(RuleBasedStateMachine):
    """Time only goes on; answers, ends, walks, selectors and restarts come in any order."""

    @initialize(
        per_name=st.integers(0, 4),
        deferred=st.integers(0, 5),
        min_ttl=st.integers(0, 8),
        grace=st.integers(0, 5),
        longest=st.integers(4, 12),
        pairs=st.integers(0, 8),
    )
    def start(
        self, per_name: int, deferred: int, min_ttl: int, grace: int, longest: int, pairs: int
    ) -> None:
        self.limits = Limits(min_ttl, per_name, deferred, grace, longest, pairs)
        self.cache, self.model = NameCache(self.limits), Model(self.limits)
        self.now, self.selected = 1000.0, set[str]()
        self.seen: dict[Address, frozenset[str]] = {}

    def carry(self, changed: set[Address]) -> None:
        """Do what the agent does: look only at what is said to have changed."""
        for address in changed:
            self.seen[address] = self.cache.selection.selectors_of(address)

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(
        endpoint=ENDPOINTS,
        name=st.sampled_from(NAMES),
        addresses=st.sets(st.sampled_from(ADDRESSES)),
        ttl=st.integers(0, 12),
        spelling=st.sampled_from([str, str.upper, "{}.".format]),
    )
    def learn(self, endpoint, name, addresses, ttl, spelling) -> None:
        self.carry(self.cache.learn(self.now, endpoint, spelling(name), addresses, ttl))
        self.model.learn(self.now, endpoint, name, addresses, ttl)

    @rule()
    def end(self) -> None:
        due = self.cache.next_end()
        real = min((end for end, _ in self.model.live.values()), default=None)
        assert real is None or (due is not None and due <= real)
        self.carry(self.cache.end(self.now))
        self.model.end(self.now)

    @rule(
        ago=st.integers(0, 6),
        met=st.dictionaries(ENDPOINTS, st.sets(st.sampled_from(ADDRESSES))),
    )
    def walk(self, ago: int, met: dict[int, set[Address]]) -> None:
        self.carry(self.cache.walked(self.now - ago, self.now, met))
        self.model.dead = []
        self.model.walked(self.now - ago, self.now, met)
        for key in self.model.dead:
            self.model.unkeep(key)

    @rule(endpoint=ENDPOINTS)
    def forget(self, endpoint: int) -> None:
        self.carry(self.cache.forget(endpoint))
        model = self.model
        for key in [key for key in model.live if key[0] == endpoint]:
            del model.live[key]
        for key in [key for key in model.kept if key[0] == endpoint]:
            model.unkeep(key)

    @rule(selectors=st.sets(st.sampled_from(SELECTORS)))
    def select(self, selectors: set[str]) -> None:
        self.selected = selectors
        self.carry(self.cache.select(selectors))

    @rule()
    def restart(self) -> None:
        endpoints = self.cache.endpoints.items()
        lines = [line(said) for number, names in endpoints for said in state(number, names)]
        self.cache = NameCache(self.limits)
        assert replay(self.cache, lines) == ({}, None)
        self.cache.select(self.selected)

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "cache"):
            return
        wanted = {*self.model.live, *self.model.kept}
        held = [
            (endpoint, *pair)
            for endpoint, names in self.cache.endpoints.items()
            for pair in names.pairs()
        ]
        assert len(held) == len(set(held))
        assert set(held) == wanted
        selectors = self.model.selectors(self.selected)
        for address in ADDRESSES:
            assert self.cache.selection.selectors_of(address) == selectors.get(address, set())
            assert self.seen.get(address, frozenset()) == selectors.get(address, set())
        assert set(self.cache.selection.selected()) == {a for a, by in selectors.items() if by}
        for name in NAMES:
            asked = {t for t in self.selected if re.fullmatch(EXPRESSIONS[t], name)}
            assert self.cache.selection.asks_for(name) == asked
        for text in SELECTORS:
            expected = {one for one, by in selectors.items() if text in by}
            assert self.cache.selection.addresses_of(text) == expected


TestMemory = Memory.TestCase
