# SPDX-License-Identifier: Apache-2.0
"""What the guides name is there: metrics, maps, commands and their flags, values, files, folders.

`e2e/test_docs.py` runs the commands on a cluster; this needs none.
"""

from __future__ import annotations

import json
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from cilium_agent import config
from cilium_agent.cni import server as cni_server
from cilium_agent.dbg import client as dbg_client
from cilium_agent.dbg import main as dbg
from cilium_agent.fqdn.journal import FOLDER as NAMES
from cilium_agent.host import cni_files, devices, sysctl
from cilium_agent.ipam import remembered
from cilium_agent.metrics.collector import Renderer
from cilium_agent.state import AgentState
from cilium_cli.arguments import build as cilium_parser
from cilium_core.layouts import datapath, events, policy, redirect
from cilium_core.layouts.spec import MapSpec
from cilium_hubble.config import Settings as HubbleSettings
from cilium_operator.metrics import Metrics
from cilium_proxy.config import Settings as ProxySettings
from cilium_proxy.dns.counts import Counts
from cilium_proxy.dns.settings import Settings as DnsSettings

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/adr/*.md"),
        *ROOT.glob("packages/*/README.md"),
    ]
)
HUBBLE = HubbleSettings(node_name="node1")
PROXY = ProxySettings(node_name="node1")
PACKAGES = {path.name for path in ROOT.glob("packages/*/src/*")}
FOLDERS = ("packages", "charts", "docs", "e2e", "bench", "tools", ".ci", ".github")
CODE = re.compile(r"```.*?```", re.DOTALL)
PLACEHOLDER = re.compile(r"[<>|\[…*]|NNNN|[A-Z]{4,}")


def guides(test: Any) -> Any:
    """One test per guide."""
    return pytest.mark.parametrize(
        "guide", GUIDES, ids=[str(path.relative_to(ROOT)) for path in GUIDES]
    )(test)


def spans(guide: Path) -> list[str]:
    """The words in backticks, blocks left out."""
    return re.findall(r"`([^`\n]+)`", CODE.sub("", guide.read_text()))


def console(guide: Path) -> list[str]:
    """The lines of console blocks, comments and prompts cut off, continued lines joined."""
    lines = []
    for block in re.findall(r"```console\n(.*?)```", guide.read_text(), re.DOTALL):
        lines += block.replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip().removeprefix("$ ") for line in lines]


def commands(guide: Path) -> Iterator[list[str]]:
    """Every command that is named, in words; what kubectl executes in a pod counts for itself."""
    whole = [span for span in spans(guide) if not PLACEHOLDER.search(span)]
    for line in (*console(guide), *whole):
        words = shlex.split(line.rpartition(" -- ")[2])
        if len(words) > 1:
            yield words


def exposed() -> set[str]:
    """The names of all metrics that agent, operator and proxies expose, with no state at all."""
    settings = config.parse({}, {"K8S_NODE_NAME": "node1"})
    texts = Renderer(AgentState(settings=settings)).render() + Metrics().text()
    texts += generate_latest(Counts().registry)
    return set(re.findall(r"^# TYPE (\S+) ", texts.decode(), re.MULTILINE))


def map_names() -> set[str]:
    modules = (datapath, policy, events, redirect)
    found = [value for module in modules for value in vars(module).values()]
    return {value.name for value in found if isinstance(value, MapSpec)}


@guides
def test_metrics_and_maps_exist(guide: Path) -> None:
    known = exposed() | map_names() | PACKAGES | {devices.HOST, devices.NET, devices.VXLAN}
    named = set(re.findall(r"(?<![\w/.])cilium_[a-z0-9_]*[a-z0-9]\b", guide.read_text()))
    assert named - known == set()


def test_the_metrics_that_operations_shows_are_found_by_this_test() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert {"cilium_drop_count_total", "cilium_endpoint_state"} <= exposed()
    assert len([name for name in exposed() if f"`{name}`" in text]) >= 5


def accepts(parser: ArgumentParser, words: list[str]) -> bool:
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        return ended.code in (0, None)  # --help
    return True


@guides
def test_commands_have_these_names_and_flags(guide: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(guide):
        program, *rest = words
        if program == "make":
            assert {word for word in rest if "=" not in word} <= set(targets), words
        elif program == "cilium":
            assert accepts(cilium_parser(), rest), words
        elif program == "cilium-dbg":
            assert accepts(dbg._parser(), rest), words


@guides
def test_values_that_are_set_exist(guide: Path) -> None:
    schema = json.loads((ROOT / "charts/cilium/values.schema.json").read_text())
    for words in commands(guide):
        for flag, setting in zip(words, words[1:], strict=False):
            if flag != "--set" or words[0] not in ("cilium", "helm"):
                continue
            at: Any = schema
            for part in setting.partition("=")[0].split("."):
                assert part in at["properties"], setting
                at = at["properties"][part]


@guides
def test_files_and_folders_of_the_repository_exist(guide: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", guide.read_text()):
        assert "://" in link or (guide.parent / link).exists(), link
    paths = [span for span in spans(guide) if "/" in span and " " not in span]
    for path in paths:
        if path.split("/")[0] in FOLDERS and "NNNN" not in path:
            assert list(ROOT.glob(path.rstrip("/"))), path


def _sockets() -> tuple[Path, ...]:
    return HUBBLE.socket, HUBBLE.monitor_socket, HUBBLE.node_state_socket, HUBBLE.access_socket


@guides
def test_files_on_a_node_have_these_names(guide: Path) -> None:
    names = {
        dbg_client.DEFAULT_SOCKET.name,
        *(path.name for path in _sockets()),
        *(path.name for path in (PROXY.agent_socket, PROXY.hubble_socket, PROXY.memory)),
        *PROXY.envoy_sockets.parts[-2:],
        *DnsSettings().memory.parts[-2:],
        DnsSettings().names_socket.name,
        *NAMES.parts,
        *remembered.FILE.parts,
        cni_server.SOCKET_NAME,
        cni_server.QUEUE_NAME,
        cni_files.CONF_NAME,
        cni_files.PLUGIN,
        sysctl.RECORD.name,
        sysctl.RECORD.parent.name,
    }
    for span in spans(guide):
        found = re.fullmatch(r"(/var/run/cilium|/opt/cni/bin|/etc/cni/net\.d)/(.*?)/?", span)
        if found and not PLACEHOLDER.search(span):
            assert set(found[2].split("/")) <= names, span


def test_rooms_of_the_agent_exist() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs/architecture.md").read_text(), re.M)
    rooms = [room for row in rows for room in re.findall(r"`(\w+)/`", row)]
    assert len(rooms) > 10
    for room in rooms:
        assert (ROOT / "packages/agent/src/cilium_agent" / room).is_dir(), room
