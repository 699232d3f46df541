# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg bpf ct list` and `bpf policy get` on a kernel that has both, through the API."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from datapath_packets import Talk, tcp

from cilium_agent.api.app import build
from cilium_agent.api.server import serve_api
from cilium_agent.config import Settings
from cilium_agent.state import AgentState
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root


async def run_dbg(path: Path, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cilium_agent.dbg.main", "--host", str(path), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_what_cilium_dbg_shows(kernel, worlds, tmp_path: Path) -> None:
    talk = Talk(kernel, 4, worlds[4])
    kernel.rows({RowKey(5, Direction.EGRESS, 6, 80, 16): Row(cells=(Cell(0, 1, 0, 0),))})
    kernel.bits({(1002, 0): 1, (2, 0): 1})
    kernel.enforce(7, 5, 3)
    talk.pod(tcp())
    state = AgentState(settings=Settings(node_name="node1"))
    state.store = kernel.store
    path = tmp_path / "cilium.sock"
    async with serve_api(build(state), path):
        code, text = await run_dbg(path, "bpf", "ct", "list", "global")
        assert code == 0
        lines = text.splitlines()
        assert [line.split(" expires")[0] for line in lines] == [
            "TCP IN 10.0.0.10:4000 -> 10.0.0.11:80",
            "TCP OUT 10.0.0.10:4000 -> 10.0.0.11:80",
        ]
        assert "TxPackets=1 " in lines[1]
        assert lines[1].endswith("PeerSecurityID=1002 Revision=3")

        code, text = await run_dbg(path, "bpf", "policy", "get", "7")
        assert code == 0
        lines = text.splitlines()
        assert lines[0] == "Endpoint ID: 7, policy 5, revision 3"
        assert lines[2].split()[:3] == ["POLICY", "DIRECTION", "LABELS"]
        shown = [line.split()[:4] for line in lines[3:]]
        assert shown == [
            ["Allow", "Egress", "reserved:world", "80/TCP"],
            ["Allow", "Egress", "1002", "80/TCP"],
        ]
        code, text = await run_dbg(path, "bpf", "policy", "get", "--all", "-n")
        assert "IDENTITY" in text
        assert "Endpoint ID: 8, policy 0 (not enforced), revision 0" in text
        assert ["Allow", "Egress", "2"] in [line.split()[:3] for line in text.splitlines()]
        code, text = await run_dbg(path, "bpf", "policy", "get", "--all", "-o", "json")
        assert [item["endpoint"] for item in json.loads(text)] == [7, 8]

        code, text = await run_dbg(path, "bpf", "policy", "get", "9")
        assert (code, "no endpoint 9" in text) == (1, True)
        code, text = await run_dbg(path, "bpf", "policy", "get")
        assert (code, "required" in text) == (2, True)
        code, text = await run_dbg(path, "bpf", "ct", "list", "7")
        assert (code, "global" in text) == (2, True)
