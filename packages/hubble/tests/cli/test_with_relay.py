# SPDX-License-Identifier: Apache-2.0
"""`hubble` against relay: merged flows in batches, and TLS by flags and environment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import trustme
from hubble_fakes import trace

sys.path.insert(0, str(Path(__file__).parents[1] / "relay"))
from relay_fakes import cluster

from cilium_hubble.cli.main import main
from cilium_hubble.relay.service import handlers
from cilium_hubble.tls import CertificateFiles, Material, server_credentials

TIME = 1_136_214_245_120_000_000
NAME = "ui.hubble-relay.cilium.io"


async def hubble(capsys: Any, *words: str) -> tuple[int, str, str]:
    """Run the command in a thread, since relay is on this loop."""
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, list(words))
    out, err = capsys.readouterr()
    out = "".join(line for line in out.splitlines(keepends=True) if "[info " not in line)
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


async def test_observe_status_and_list(capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster() as made:
        for index, name in enumerate("ab"):
            node = await made.add(name)
            node.hubble.add(*(trace(time=TIME + 2 * n + index, sport=n) for n in range(2)))
        server = ("--server", f"127.0.0.1:{made.port}")
        code, out, err = await hubble(capsys, "observe", "--print-node-name", *server)
        assert (code, err) == (0, "")
        nodes = [line.split("[")[1].split("]")[0] for line in out.splitlines()]
        assert nodes == ["default/a", "default/b", "default/a", "default/b"]
        await made.nodes["b"].stop()
        await made.until("b", connected=False)
        code, out, err = await hubble(capsys, "observe", "--last", "1", *server)
        assert "1 nodes are unavailable: b" in err
        assert len(out.splitlines()) == 1
        code, out, _ = await hubble(capsys, "list", "nodes", *server)
        rows = [line.split()[:2] for line in out.splitlines()[1:]]
        assert rows == [["a", "Connected"], ["b", "Unavailable"]]


async def test_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    own, client = authority.issue_cert(NAME), authority.issue_cert("me.hubble-relay.cilium.io")
    paths = [tmp_path / name for name in ("ca", "cert", "key")]
    paths[0].write_bytes(authority.cert_pem.bytes())
    paths[1].write_bytes(client.cert_chain_pems[0].bytes())
    paths[2].write_bytes(client.private_key_pem.bytes())
    material = Material(
        own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes(), authority.cert_pem.bytes()
    )
    files = CertificateFiles(*[tmp_path / "none"] * 3)
    async with cluster() as made:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(tuple(handlers(made.relay)))
        port = server.add_secure_port("127.0.0.1:0", server_credentials(files, material))
        await server.start()
        base = ("list", "nodes", "--request-timeout", "3s", "--server", f"tls://127.0.0.1:{port}")
        flags = ("--tls-client-cert-file", str(paths[1]), "--tls-client-key-file", str(paths[2]))
        trusting = ("--tls-ca-cert-files", str(paths[0]), "--tls-server-name", NAME)
        code, out, err = await hubble(capsys, *base, *flags, *trusting)
        assert (code, err) == (0, "")
        assert out.startswith("NAME")
        assert (await hubble(capsys, *base, *trusting))[0] == 1  # no certificate of its own
        assert (await hubble(capsys, *base, *flags))[0] == 1  # the system trusts nobody like this
        monkeypatch.setenv("HUBBLE_TLS_CA_CERT_FILES", str(paths[0]))
        monkeypatch.setenv("HUBBLE_TLS_SERVER_NAME", NAME)
        assert (await hubble(capsys, *base, *flags))[0] == 0
        code, _, err = await hubble(capsys, *base, "--tls-client-cert-file", str(paths[1]))
        assert "need each other" in err
        code, _, err = await hubble(capsys, *base, "--tls-ca-cert-files", "/nowhere")
        assert "/nowhere: No such file" in err
        await server.stop(0)
