# SPDX-License-Identifier: Apache-2.0
"""The real plugin against the real server, pods in namespaces, ports in memory."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_fakes import Agent, Namespace, make_agent, pod, until

from cilium_agent.cni.server import CniServer
from cilium_agent.endpoints.restore import restore

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]


def conf(version: str = "1.0.0", **more: object) -> str:
    return json.dumps({"cniVersion": version, "name": "cilium", "type": "cilium-cni", **more})


def env(netns: str = "/nowhere", name: str = "web", container: str = "c1") -> dict[str, str]:
    return {
        "CNI_CONTAINERID": container,
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": netns,
        "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID=uid-{name}",
    }


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    made = await make_agent(tmp_path / "e.db", *(pod(f"p{n}") for n in range(30)), pod("web"))
    server = CniServer(tmp_path / "run", made.manager)
    await server.listen()
    await restore(made.manager, {})
    await server.serve()
    yield made
    await server.close()
    await made.manager.store.close()


async def test_add_check_del(agent: Agent, call, pod_netns: Namespace) -> None:
    code, out = await call("ADD", conf(), **env(pod_netns.path))
    assert code == 0, out
    (endpoint,) = agent.manager.all()
    assert out == {
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": endpoint.host_interface, "mac": endpoint.node_mac.hex(":")},
            {"name": "eth0", "mac": endpoint.mac.hex(":"), "sandbox": pod_netns.path},
        ],
        "ips": [
            {"address": "10.0.0.2/32", "gateway": "10.0.0.1", "interface": 1},
            {"address": "fd00::2/128", "gateway": "fd00::1", "interface": 1},
        ],
        "routes": [
            {"dst": "10.0.0.1/32"},
            {"dst": "0.0.0.0/0", "gw": "10.0.0.1"},
            {"dst": "fd00::1/128"},
            {"dst": "::/0", "gw": "fd00::1"},
        ],
        "dns": {},
    }
    previous = conf(prevResult=out)
    assert await call("CHECK", previous, **env(pod_netns.path)) == (0, None)
    other = json.loads(json.dumps(out).replace("10.0.0.2/32", "10.0.0.3/32"))
    code, wrong = await call("CHECK", conf(prevResult=other), **env(pod_netns.path))
    assert (code, wrong["code"]) == (1, 101)
    assert "10.0.0.3/32" in wrong["details"]
    for _ in range(2):
        assert await call("DEL", previous, **env("")) == (0, None)
        assert not any(agent.leaks().values())
    code, gone = await call("CHECK", previous, **env(pod_netns.path))
    assert (code, gone["code"]) == (1, 3)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
async def test_every_version_gets_its_form(
    agent: Agent, call, pod_netns: Namespace, version: str
) -> None:
    code, out = await call("ADD", conf(version), **env(pod_netns.path))
    assert code == 0
    assert out["cniVersion"] == version
    assert [ip.get("version") for ip in out["ips"]] == (
        ["4", "6"] if version < "1.0.0" else [None, None]
    )
    assert [i.get("mtu") for i in out["interfaces"]] == (
        [1500, 1500] if version == "1.1.0" else [None, None]
    )


async def test_status_and_gc(agent: Agent, call, namespaces: list[Namespace]) -> None:
    assert await call("STATUS", conf("1.1.0")) == (0, None)
    namespaces.extend([Namespace(), Namespace()])
    for n, namespace in enumerate(namespaces):
        assert (await call("ADD", conf(), **env(namespace.path, f"p{n}", f"c{n}")))[0] == 0
    code, out = await call("GC", conf("1.1.0"))
    assert (code, out["code"]) == (1, 7)
    valid = [{"containerID": "c1", "ifname": "eth0"}]
    body = conf("1.1.0", **{"cni.dev/valid-attachments": valid})
    assert await call("GC", body) == (0, None)
    assert [e.pod_name for e in agent.manager.all()] == ["p1"]


async def test_status_tells_of_a_full_cidr(agent: Agent, call) -> None:
    pool = agent.manager.pool.v4
    assert pool is not None
    for n in range(pool.capacity):
        pool.allocate(f"other{n}")
    code, out = await call("STATUS", conf("1.1.0"))
    assert (code, out["code"]) == (1, 50)
    assert "10.0.0.0/24" in out["msg"]
    code, out = await call("ADD", conf(), **env())
    assert (code, out["code"]) == (1, 11)
    assert "10.0.0.0/24" in out["msg"]


@pytest.mark.parametrize(
    ("stdin", "change", "code", "words"),
    [
        ("this is no JSON", {}, 6, "stdin"),
        (b"\xff\xfe{}", {}, 6, "request"),
        (conf(), {"CNI_NETNS": "/nowhere/at/all"}, 4, "CNI_NETNS: /nowhere/at/all"),
        (conf(), {"CNI_ARGS": "K8S_POD_NAMESPACE=default"}, 4, "K8S_POD_NAME"),
        (conf(), {"CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=no"}, 3, "default/no"),
        (conf(), {"CNI_IFNAME": "with/slash"}, 4, "CNI_IFNAME"),
        (conf("9.9.9"), {}, 1, "cniVersion"),
    ],
)
async def test_bad_input_names_the_field_and_leaves_nothing(
    agent: Agent, call, stdin: str | bytes, change: dict, code: int, words: str
) -> None:
    exit_code, out = await call("ADD", stdin, **{**env(), **change})
    assert (exit_code, out["code"]) == (1, code)
    assert words in out["msg"]
    assert not any(agent.leaks().values())
    assert await agent.manager.links.present() == []


async def test_thirty_plugins_at_once(agent: Agent, call, namespaces: list[Namespace]) -> None:
    namespaces.extend(Namespace() for _ in range(30))
    answers = await asyncio.gather(
        *(call("ADD", conf(), **env(ns.path, f"p{n}", f"c{n}")) for n, ns in enumerate(namespaces))
    )
    assert {code for code, _ in answers} == {0}
    assert len({out["ips"][0]["address"] for _, out in answers}) == 30


async def test_a_plugin_that_goes_away_undoes_its_call(
    agent: Agent, tmp_path: Path, pod_netns: Namespace
) -> None:
    held = asyncio.Event()

    async def allocate(labels: dict[str, str]) -> int:
        held.set()
        await asyncio.sleep(60)
        return 1000

    agent.identities.allocate = allocate  # type: ignore[method-assign]
    _, writer = await asyncio.open_unix_connection(tmp_path / "run" / "cni.sock")
    body = json.dumps({"env": {"CNI_COMMAND": "ADD", **env(pod_netns.path)}, "stdin": conf()})
    writer.write(struct.pack(">I", len(body)) + body.encode())
    await held.wait()
    await until(lambda: any(e.host_ifindex for e in agent.manager.all()))
    writer.close()
    await until(lambda: not any(agent.leaks().values()))
    assert await agent.manager.links.present() == []
    assert await agent.manager.store.load() == []


async def test_queued_dels_are_done_before_the_socket_answers(
    tmp_path: Path, call, pod_netns: Namespace
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    first = CniServer(tmp_path / "run", agent.manager)
    await first.listen()
    await first.serve()
    assert (await call("ADD", conf(), **env(pod_netns.path)))[0] == 0
    await first.close()
    await agent.manager.store.close()
    assert await call("DEL", conf(), **env("")) == (0, None)
    (tmp_path / "run" / "deleteQueue" / "0.delete").write_text("spoiled")
    assert len(list((tmp_path / "run" / "deleteQueue").glob("*.delete"))) == 2

    again = await make_agent(tmp_path / "e.db", pod("web"))
    second = CniServer(tmp_path / "run", again.manager)
    await second.listen()
    waiting = asyncio.create_task(call("CHECK", conf(), **env(pod_netns.path)))
    assert (await restore(again.manager, {})).adopted == [1]
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await second.serve()
    assert not any(again.leaks().values())
    assert list((tmp_path / "run" / "deleteQueue").glob("*.delete")) == []
    code, out = await waiting
    assert (code, out["code"]) == (1, 3)
    await second.close()
    await again.manager.store.close()
