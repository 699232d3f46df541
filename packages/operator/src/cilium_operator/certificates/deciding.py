# SPDX-License-Identifier: Apache-2.0
"""What a Secret should hold, given what it holds: nothing is renewed that is good. Pure.

A new authority is trusted before it is used: each Secret first gets it beside the old one, is
signed by it after a while in which everyone has read that, and loses the old one after another
while. Since when a Secret trusts the present authority stands in an annotation, so that a restarted
operator goes on where the last one was.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from cilium_operator.certificates import making
from cilium_operator.certificates.making import BadCertificate, Pair

SETTLE = timedelta(minutes=10)  # kubelets bring a changed Secret to every pod in less
SINCE = "python.cilium.io/authority"  # fingerprint and time

CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"


class Leaf(NamedTuple):
    """A certificate that is wanted: its Secret, and the names it is for."""

    secret: str
    names: tuple[str, ...]


class Held(NamedTuple):
    """What a Secret holds."""

    data: Mapping[str, bytes]
    annotations: Mapping[str, str]


def leaves(cluster: str, *, relay_server: bool) -> list[Leaf]:
    """Return the certificates of Hubble under upstream's names."""
    label = cluster.replace(".", "-")
    wanted = [
        Leaf("hubble-server-certs", (f"*.{label}.hubble-grpc.cilium.io",)),
        Leaf("hubble-relay-client-certs", ("*.hubble-relay.cilium.io",)),
    ]
    if relay_server:
        wanted.append(Leaf("hubble-relay-server-certs", ("*.hubble-relay.cilium.io",)))
    return wanted


def authority(held: Held | None, now: datetime, days: int) -> Pair | None:
    """Return a new authority when there is none or it ends too soon for what it has to sign.

    BadCertificate for one that cannot sign: somebody put it there and has to know.
    """
    if held is None:
        return making.new_authority(now)
    pair = Pair(held.data.get("ca.crt", b""), held.data.get("ca.key", b""))
    making.load_key(pair)
    if making.load(pair.certificate).not_valid_after_utc - now < _early(days):
        return making.new_authority(now)
    return None


def leaf(wanted: Leaf, held: Held | None, signer: Pair, now: datetime, days: int) -> Held | None:
    """Return what the Secret of a leaf should hold, None when it holds that."""
    present = making.load(signer.certificate)
    mark = making.fingerprint(present)
    found = held if held is not None else Held({}, {})
    seen, _, text = found.annotations.get(SINCE, "").partition(" ")
    since = _time(text) if seen == mark else None
    trusted = now - since if since is not None else timedelta(0)
    pair = Pair(found.data.get(CERTIFICATE, b""), found.data.get(KEY, b""))
    if not _good(pair, wanted, signer, found, now, days, trusted > SETTLE):
        pair = making.issue(signer, wanted.names, now, days)
    old = [
        one
        for one in making.load_all(found.data.get(AUTHORITIES, b""))
        if one != present and one.not_valid_after_utc > now and trusted <= 2 * SETTLE
    ]
    data = {
        CERTIFICATE: pair.certificate,
        KEY: pair.key,
        AUTHORITIES: making.pem_of([present, *old]),
    }
    annotation = f"{mark} {(since or now).isoformat(timespec='seconds')}"
    made = Held(data, {SINCE: annotation})
    same = all(found.data.get(key) == value for key, value in data.items())
    return None if same and found.annotations.get(SINCE) == annotation else made


def _good(
    pair: Pair,
    wanted: Leaf,
    signer: Pair,
    found: Held,
    now: datetime,
    days: int,
    settled: bool,
) -> bool:
    """Tell whether a certificate can stay for now."""
    try:
        making.load_key(pair)
        certificate = making.load(pair.certificate)
    except BadCertificate:
        return False
    if making.names_of(certificate) != set(wanted.names):
        return False
    # While not everyone trusts the signer, an old certificate is better than a new one.
    if certificate.not_valid_after_utc - now < (_early(days) if settled else 2 * SETTLE):
        return False
    trusted = [making.load(signer.certificate)]
    if not settled:
        trusted += making.load_all(found.data.get(AUTHORITIES, b""))
    return any(making.signed_by(certificate, one) for one in trusted)


def _early(days: int) -> timedelta:
    """Return how long before its end a certificate is renewed: a third of its life."""
    return timedelta(days=days) / 3


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
