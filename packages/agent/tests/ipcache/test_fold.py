# SPDX-License-Identifier: Apache-2.0
"""The fold against a slow model, whatever the order of events; the writer against both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.ipcache.fold import Metadata, PrefixFold, Source
from cilium_agent.ipcache.writer import IpcacheWriter, key_of, row_of
from cilium_core.addresses import Network, pack_address
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey

PREFIXES = [ip_network(text) for text in ("10.0.0.1/32", "10.0.0.0/24", "fd00::1/128", "::/0")]
METADATA = st.builds(
    Metadata,
    st.sampled_from(list(Source)),
    st.integers(1, 9),
    st.sampled_from([None, ip_address("172.30.0.11")]),
    st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
)
STATEMENTS = st.dictionaries(st.sampled_from(PREFIXES), METADATA, max_size=3)
EVENTS = st.lists(st.tuples(st.sampled_from("abcd"), STATEMENTS), max_size=20)
LOCAL = ip_address("10.0.0.1")


class MemoryTable:
    """A table in memory that notes every call."""

    def __init__(self, rows: Mapping[IpcacheKey, IpcacheInfo]) -> None:
        self.rows = dict(rows)
        self.deleted: list[IpcacheKey] = []

    @property
    def current(self) -> Mapping[IpcacheKey, IpcacheInfo]:
        return self.rows

    def upsert(self, rows: Mapping[IpcacheKey, IpcacheInfo]) -> None:
        self.rows.update(rows)

    def delete(self, keys: Iterable[IpcacheKey]) -> None:
        for key in keys:
            self.deleted.append(key)
            self.rows.pop(key, None)


def model(said: Mapping[str, dict[Network, Metadata]]) -> dict[Network, Metadata]:
    """Sort every statement of a prefix and take the best: the obvious way."""
    found: dict[Network, Metadata] = {}
    for prefix in PREFIXES:
        ranked = sorted(
            (-metadata.source, [-ord(c) for c in metadata.since.ljust(20)], name)
            for name, statements in said.items()
            if (metadata := statements.get(prefix)) is not None
        )
        if ranked:
            found[prefix] = said[ranked[0][2]][prefix]
    return found


@given(EVENTS)
def test_fold_is_the_model(events: list[tuple[str, dict[Network, Metadata]]]) -> None:
    fold, said = PrefixFold(), dict[str, dict[Network, Metadata]]()
    for resource, statements in events:
        fold.put(resource, statements)
        said[resource] = statements
    assert dict(fold.rows()) == model(said)


@given(EVENTS, st.integers(0, 20))
def test_written_rows_are_the_model_after_prune(
    events: list[tuple[str, dict[Network, Metadata]]], prune_at: int
) -> None:
    stale = IpcacheKey(128, pack_address("192.0.2.1"))
    mine = key_of(ip_network("10.0.0.1/32"))
    table = MemoryTable({stale: IpcacheInfo(77), mine: IpcacheInfo(999)})
    writer = IpcacheWriter(table, lambda raw: raw == pack_address(LOCAL))
    said: dict[str, dict[Network, Metadata]] = {}
    for number, (resource, statements) in enumerate(events):
        if number < prune_at:
            assert not table.deleted, "nothing is deleted before prune"
        if number == prune_at:
            writer.prune()
        writer.fold.put(resource, statements)
        said[resource] = statements
        writer.flush()
    writer.prune()
    wanted = {key_of(p): row_of(m) for p, m in model(said).items() if key_of(p) != mine}
    assert table.rows == {**wanted, mine: IpcacheInfo(999)}, "the local endpoint's row is not ours"
