# SPDX-License-Identifier: Apache-2.0
"""Certificates over years: who holds what at every moment, and that strangers' work is kept."""

from __future__ import annotations

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from cilium_operator.certificates import making
from cilium_operator.certificates.deciding import SETTLE, leaves
from cilium_operator.certificates.keeper import CertificateKeeper, Secret
from cilium_operator.certificates.making import BadCertificate, Pair
from cilium_operator.config import PoolSettings, Settings
from cilium_operator.errors import ApiError

START = datetime(2026, 1, 1, tzinfo=UTC)
ALL = "/api/v1/namespaces/kube-system/secrets"
SERVER, CLIENT = "hubble-server-certs", "hubble-relay-client-certs"


class Secrets:
    """An API server with Secrets only."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []

    async def find(self, path: str, kind: type[Secret]) -> Secret | None:
        held = self.held.get(path.removeprefix(f"{ALL}/"))
        return msgspec.convert(held, kind) if held is not None else None

    async def create(self, path: str, body: Any) -> bytes:
        assert path == ALL
        name = body["metadata"]["name"]
        self.held[name] = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        self.writes.append(name)
        return b""

    async def patch(self, path: str, body: Any) -> bytes:
        name = path.removeprefix(f"{ALL}/")
        held = self.held[name]
        if body["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "changed", name)
        version = str(int(held["metadata"]["resourceVersion"]) + 1)
        notes = {**held["metadata"].get("annotations", {}), **body["metadata"]["annotations"]}
        held["metadata"] = {**held["metadata"], "resourceVersion": version, "annotations": notes}
        held["data"] = {**held["data"], **body["data"]}
        self.writes.append(name)
        return b""

    def data(self, name: str, key: str) -> bytes:
        return base64.b64decode(self.held[name]["data"][key])


class World:
    """A keeper whose clock the test sets."""

    def __init__(self, **more: Any) -> None:
        self.secrets = Secrets()
        self.now = START
        settings = Settings(pools=cast(dict[int, PoolSettings], {}), **more)
        self.keeper = CertificateKeeper(self.secrets, settings, lambda: self.now)

    async def run(self, **later: float) -> list[str]:
        """Let time pass, look once, and return what was written."""
        self.now += timedelta(**later)
        self.secrets.writes.clear()
        await self.keeper.run()
        return list(self.secrets.writes)

    def trusts(self, one: str, other: str) -> bool:
        """Tell whether one side accepts the other's certificate."""
        certificate = making.load(self.secrets.data(other, "tls.crt"))
        trusted = making.load_all(self.secrets.data(one, "ca.crt"))
        return any(making.signed_by(certificate, authority) for authority in trusted)


async def test_everything_is_made_once() -> None:
    world = World(cluster_name="my.cluster", relay_server_certificate=True)
    assert await world.run() == ["cilium-ca", SERVER, CLIENT, "hubble-relay-server-certs"]
    assert await world.run(days=100) == []
    assert world.trusts(SERVER, CLIENT)
    assert world.trusts(CLIENT, SERVER)
    held = world.secrets.held[SERVER]
    assert held["type"] == "kubernetes.io/tls"
    made = making.load(world.secrets.data(SERVER, "tls.crt"))
    assert making.names_of(made) == {"*.my-cluster.hubble-grpc.cilium.io"}
    assert made.not_valid_after_utc == START + timedelta(days=365)
    assert making.load(world.secrets.data("cilium-ca", "ca.crt")).not_valid_after_utc == (
        START + timedelta(days=1095)
    )
    del world.secrets.held[CLIENT]
    assert await world.run() == [CLIENT]


async def test_a_leaf_is_renewed_in_its_last_third_by_the_same_authority() -> None:
    world = World()
    await world.run()
    authority = world.secrets.data("cilium-ca", "ca.crt")
    assert await world.run(days=242) == []
    assert await world.run(days=2) == [SERVER, CLIENT]
    assert world.secrets.data("cilium-ca", "ca.crt") == authority
    assert world.secrets.data(SERVER, "ca.crt") == authority
    assert await world.run(minutes=1) == []


async def test_in_ten_years_there_is_no_moment_without_trust() -> None:
    """Readers see a Secret late: each side is also held against what the other was before."""
    world = World()
    await world.run()
    authorities = set()
    for _ in range(730):
        before = {name: dict(held["data"]) for name, held in world.secrets.held.items()}
        now = await world.run(days=5)
        for _ in range(4 if now else 0):
            assert world.trusts(SERVER, CLIENT)
            assert world.trusts(CLIENT, SERVER)
            for name in (SERVER, CLIENT):  # the other side has not read the change yet
                held = world.secrets.held[name]
                changed, held["data"] = held["data"], before[name]
                assert world.trusts(SERVER, CLIENT)
                assert world.trusts(CLIENT, SERVER)
                held["data"] = changed
            before = {name: dict(held["data"]) for name, held in world.secrets.held.items()}
            await world.run(seconds=SETTLE.total_seconds() + 1)
        authorities.add(world.secrets.data("cilium-ca", "ca.crt"))
        for name in (SERVER, CLIENT):
            found = making.load(world.secrets.data(name, "tls.crt"))
            assert found.not_valid_after_utc > world.now + timedelta(days=100)
    assert len(authorities) > 3
    assert len(making.load_all(world.secrets.data(SERVER, "ca.crt"))) == 1


async def test_somebodys_own_authority_is_used_and_taken_up_gently() -> None:
    world = World()
    own = making.new_authority(START)
    text = {k: base64.b64encode(v).decode() for k, v in (("ca.crt", own[0]), ("ca.key", own[1]))}
    meta = {"name": "cilium-ca", "resourceVersion": "1"}
    world.secrets.held["cilium-ca"] = {"metadata": meta, "data": text}
    assert await world.run() == [SERVER, CLIENT]
    assert world.secrets.data(SERVER, "ca.crt") == own.certificate
    first = world.secrets.data(SERVER, "tls.crt")
    other = making.new_authority(START)
    pairs = (("ca.crt", other[0]), ("ca.key", other[1]))
    world.secrets.held["cilium-ca"]["data"] = {
        key: base64.b64encode(value).decode() for key, value in pairs
    }
    assert await world.run(minutes=1) == [SERVER, CLIENT]
    assert world.secrets.data(SERVER, "tls.crt") == first
    assert world.secrets.data(SERVER, "ca.crt") == other.certificate + own.certificate
    assert await world.run(minutes=5) == []
    assert await world.run(minutes=6) == [SERVER, CLIENT]
    assert world.secrets.data(SERVER, "tls.crt") != first
    assert await world.run(minutes=15) == [SERVER, CLIENT]
    assert world.secrets.data(SERVER, "ca.crt") == other.certificate


@pytest.mark.parametrize("spoiled", [{"tls.crt": b"x"}, {"tls.key": b"x"}, {"ca.crt": b""}])
async def test_what_somebody_spoiled_is_put_right(spoiled: dict[str, bytes]) -> None:
    world = World()
    await world.run()
    for key, value in spoiled.items():
        world.secrets.held[SERVER]["data"][key] = base64.b64encode(value).decode()
    assert await world.run(minutes=1) == [SERVER]
    assert world.trusts(SERVER, CLIENT)
    assert world.trusts(CLIENT, SERVER)


async def test_an_authority_that_cannot_sign_is_left_alone() -> None:
    world = World()
    world.secrets.held["cilium-ca"] = {
        "metadata": {"name": "cilium-ca", "resourceVersion": "1"},
        "data": {"ca.crt": base64.b64encode(making.new_authority(START).certificate).decode()},
    }
    assert await world.run() == []
    world.secrets.held["cilium-ca"]["data"]["ca.key"] = "%%"
    assert await world.run() == []


async def test_who_writes_at_the_same_time_wins() -> None:
    world = World()
    await world.run()
    real = world.secrets.find

    async def late(path: str, kind: type[Secret]) -> Secret | None:
        found = await real(path, kind)
        if path.endswith(SERVER):
            world.secrets.held[SERVER]["metadata"]["resourceVersion"] = "77"
        return found

    world.secrets.find = late  # type: ignore[method-assign]
    assert await world.run(days=300) == []
    world.secrets.find = real  # type: ignore[method-assign]
    assert await world.run(minutes=1) == [SERVER, CLIENT]


def test_a_key_of_another_certificate_is_noticed() -> None:
    one, other = making.new_authority(START), making.new_authority(START)
    with pytest.raises(BadCertificate, match="not the certificate's"):
        making.load_key(Pair(one.certificate, other.key))


async def test_a_handshake_accepts_them(tmp_path: Path) -> None:
    """Python's own TLS as the judge: names, usages, chain."""
    now = datetime.now(UTC)
    authority = making.new_authority(now)
    (server, client) = leaves("default", relay_server=False)
    files = {}
    for wanted in (server, client):
        pair = making.issue(authority, wanted.names, now, 365)
        files[wanted.secret] = tmp_path / wanted.secret
        files[wanted.secret].write_bytes(pair.certificate + pair.key)
    cadata = authority.certificate.decode()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=cadata)
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(files[SERVER])
    asking = ssl.create_default_context(cadata=cadata)
    asking.load_cert_chain(files[CLIENT])

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
    port = listening.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=asking, server_hostname="worker-1.default.hubble-grpc.cilium.io"
    )
    assert await reader.read() == b"hello"
    writer.close()
    listening.close()
