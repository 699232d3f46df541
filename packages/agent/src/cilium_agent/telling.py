# SPDX-License-Identifier: Apache-2.0
"""Connects the hooks of the agent's rooms with the node state, and makes the parts of policy.

Here and in `daemon` alone rooms meet that do not know each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cilium_agent.config import Settings
from cilium_agent.datapath.enforcement import PolicyMaps
from cilium_agent.datapath.redirects import KernelRedirects
from cilium_agent.datapath.store import MapStore
from cilium_agent.fqdn.identities import Around, NameIdentities
from cilium_agent.fqdn.journal import FOLDER, Journal
from cilium_agent.fqdn.names import Names
from cilium_agent.fqdn.rows import IpcacheNames
from cilium_agent.ipcache.fold import Metadata
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.k8s.watches import Watches
from cilium_agent.nodestate.facts import ServiceFact
from cilium_agent.nodestate.state import NodeState
from cilium_agent.nodestate.teller import Teller
from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.feed import PolicyFeed, PrefixLabels
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.policy.lastvalid import LastValid
from cilium_agent.policy.prefixes import IpcachePrefixes
from cilium_agent.policy.repository import Repository
from cilium_agent.proxies.rulesets import RuleSets
from cilium_agent.services.balancer import Balancer
from cilium_core.addresses import Network, pack_address
from cilium_core.fqdn.cache import NameCache
from cilium_core.layouts.datapath import ServiceKey

POD = "cep/"  # how the reconciler names a pod's statements about its addresses


@dataclass(frozen=True, slots=True)
class Policing:
    """The parts that decide about packets."""

    maps: PolicyMaps
    keeper: PolicyKeeper
    repository: Repository
    rule_sets: RuleSets
    names: Names
    journal: Journal


def make_policing(
    settings: Settings, store: MapStore, ipcache: IpcacheWriter, watches: Watches
) -> Policing:
    """Adopt what the kernel holds and follow the cluster's policies; nothing is written yet."""
    families = tuple(f for f, on in ((4, settings.enable_ipv4), (6, settings.enable_ipv6)) if on)
    labels = PrefixLabels(dual_stack=len(families) > 1)
    maps, prefixes = PolicyMaps(store), IpcachePrefixes(ipcache)
    rule_sets = RuleSets(KernelRedirects(store))
    cidrs = CidrIdentities(labels)
    journal = Journal(settings.run_dir / FOLDER)
    names = Names(
        NameCache(settings.names),
        NameIdentities(cidrs.draw, families),
        Around(labels),
        IpcacheNames(ipcache),
        journal,
        preallocate=settings.preallocate_names,
    )
    keeper = PolicyKeeper(maps, prefixes, cidrs, rule_sets, names)
    names.flush = keeper.flush
    rule_sets.on_force = keeper.rejudge
    numbers, rows = journal.read(names.cache), prefixes.known()
    cidrs.reserve([*numbers, *rows.values()])
    keeper.adopt(names.adopt(numbers, rows))
    last_valid = LastValid(settings.run_dir / "state" / "policies")
    repository = Repository(settings.cluster_name, families, last_valid)
    PolicyFeed(
        watches, keeper, labels, repository, settings.node_name, settings.policy_enforcement
    ).attach()
    return Policing(maps, keeper, repository, rule_sets, names, journal)


def make_teller(settings: Settings, keeper: PolicyKeeper, watches: Watches) -> Teller:
    """Tell of policies, identities and prefixes' identities from now on."""
    teller = Teller(NodeState(), settings.node_name, settings.cluster_name)
    watches.ciliumidentities.on_change(teller.identity)
    watches.ciliumnodes.on_change(teller.cluster_node)
    engine = keeper.engine
    keeper.on_flush = lambda: teller.locals(keeper.local_labels())
    keeper.on_rows = lambda numbers, revision: teller.policies(
        numbers, revision, engine.rules, engine.uses()
    )
    return teller


def tell_tables(
    teller: Teller, ipcache: IpcacheWriter, balancer: Balancer, store: MapStore
) -> None:
    """Tell of the ipcache's rows and of services from now on."""

    def row(prefix: Network, said: Metadata | None, speaker: str) -> None:
        teller.prefix(prefix, said.identity if said is not None else None, _pod(speaker))

    ipcache.on_row = row
    balancer.on_written = lambda: teller.services(_services(balancer, store))


def _pod(speaker: str) -> tuple[str, str]:
    if not speaker.startswith(POD):
        return "", ""
    namespace, _, name = speaker.removeprefix(POD).partition("/")
    return namespace, name


def _services(balancer: Balancer, store: MapStore) -> Iterator[ServiceFact]:
    rows = store.services.current
    for where, service in balancer.frontends().items():
        row = rows.get(ServiceKey(pack_address(where.address), where.port, where.protocol))
        if row is not None:
            frontend = (str(where.address), where.port, where.protocol)
            yield ServiceFact(row.service_id, service.namespace, service.name, (frontend,))
