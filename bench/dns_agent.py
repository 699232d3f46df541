# SPDX-License-Identifier: Apache-2.0
"""The agent of the DNS suite, as a process: names, policy and the ipcache over real maps.

`python -m bench.dns_agent STATE MAPS`: sockets are in the folder STATE, maps pinned in MAPS. One
policy allows the client `*.allowed.test`. When an address is in the kernel it is marked in a file
that the client looks into as soon as an answer is in its hands.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from bench.dns_ends import PORT, marks
from cilium_agent.datapath.enforcement import PolicyMaps
from cilium_agent.datapath.store import MapStore
from cilium_agent.fqdn.identities import Around, NameIdentities
from cilium_agent.fqdn.journal import Journal
from cilium_agent.fqdn.names import Names
from cilium_agent.fqdn.rows import IpcacheNames
from cilium_agent.fqdn.service import NameServer
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.feed import PrefixLabels
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.policy.prefixes import IpcachePrefixes
from cilium_core.addresses import Address
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.limits import Limits
from cilium_core.layouts.sizes import MapSizes
from cilium_core.policy.language import fqdns, parse
from cilium_core.proto import access_pb2 as access
from cilium_core.proto import proxy_pb2 as pb

CLIENT = ip_address("10.77.1.2")
ENDPOINT, IDENTITY = 7, 20_000
LABELS = {"k8s:app": "client", "k8s:io.kubernetes.pod.namespace": "x"}
POLICY = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "names", "namespace": "x"},
    "spec": {
        "endpointSelector": {},
        "egress": [{"toFQDNs": [{"matchPattern": "*.allowed.test"}]}],
    },
}


class Marked(IpcacheNames):
    """Rows that are marked once they are written."""

    def __init__(self, writer: IpcacheWriter, state: Path) -> None:
        """Mark in the file of `state`."""
        super().__init__(writer)
        self._marks = marks(state / "marks")

    def write(self, numbers: Mapping[Address, int | None]) -> None:
        """Write and mark."""
        super().write(numbers)
        for address, number in numbers.items():
            self._marks[int(address) & 0xFFFFFF] = number is not None


def make(state: Path, maps: Path) -> Names:
    """Return names over maps, with the policy in force for the client."""
    store = MapStore(maps, MapSizes())
    writer = IpcacheWriter(store.ipcache, lambda _address: False)
    labels = PrefixLabels(dual_stack=True)
    cidrs = CidrIdentities(labels)
    journal = Journal(state / "names")
    names = Names(
        # Each answer is of one of 50 names: without room for all, they would push each other out.
        NameCache(Limits(per_name=20_000, pairs=1 << 20)),
        NameIdentities(cidrs.draw, (4, 6)),
        Around(labels),
        Marked(writer, state),
        journal,
    )
    keeper = PolicyKeeper(PolicyMaps(store), IpcachePrefixes(writer), cidrs, None, names)
    names.flush = keeper.flush
    names.endpoint_at = {CLIENT: ENDPOINT}.get
    policies = parse(POLICY, "default")
    keeper.set_policies("p", policies)
    keeper.set_names(name for policy in policies for name in fqdns(policy))
    keeper.start(lambda _number: None)
    keeper.prepare(ENDPOINT, IDENTITY, LABELS)
    keeper.settled(ENDPOINT)
    keeper.flush()
    for _ in journal.begin(names.state):
        pass
    writer.prune()
    return names


async def serve(state: Path, maps: Path) -> None:
    """Serve names, one rule set, and who takes records."""
    server = NameServer(make(state, maps))
    server.open()

    async def follow(_reports: Any, context: Any) -> None:
        rule = pb.Rule(dns=pb.DnsRule(match_pattern="*.allowed.test"))
        rules = pb.RuleSet(port=PORT, revision=1, direction=2, kind=pb.DNS, rules=[rule])
        await context.write(pb.Update(snapshot=True, complete=True, rule_sets=[rules]))
        await asyncio.Event().wait()

    async def push(batches: AsyncIterator[access.Batch], _context: Any) -> AsyncIterator[Any]:
        async for batch in batches:
            yield access.Taken(number=batch.number)

    def handler(service: str, **methods: Any) -> Any:
        return grpc.method_handlers_generic_handler(f"cilium.python.{service}", methods)

    others = grpc.aio.server()
    others.add_generic_rpc_handlers(
        (
            handler(
                "proxy.v1.Proxies",
                Follow=grpc.stream_stream_rpc_method_handler(
                    follow, pb.Report.FromString, pb.Update.SerializeToString
                ),
            ),
            handler(
                "access.v1.AccessRecords",
                Push=grpc.stream_stream_rpc_method_handler(
                    push, access.Batch.FromString, access.Taken.SerializeToString
                ),
            ),
        )
    )
    for name in ("proxies.sock", "access.sock"):
        others.add_insecure_port(f"unix:{state / name}")
    async with server.serve(state / "names.sock"):
        await others.start()
        print("up", flush=True)
        await others.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
