# SPDX-License-Identifier: Apache-2.0
"""OCI archives that carry only the layers a node lacks.

A docker-archive holds every layer; importing half a gigabyte to change three kilobytes takes
seconds a node. containerd keeps layers by the digest of their uncompressed tar, which is what
the image's configuration lists, so what is there can be seen without asking.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def write_missing(source: Path, image: str, present: Callable[[str], bool], target: Path) -> int:
    """Write to `target` the image of docker-archive `source` as an OCI archive.

    Layers whose digest (64 hexadecimal digits) is `present` are named in the manifest but not
    carried. Returns how many layers are carried.
    """
    carried = 0
    with tarfile.open(source) as docker, tarfile.open(target, "w") as oci:
        listing = json.loads(_read(docker, "manifest.json"))[0]
        config = _read(docker, listing["Config"])
        layers = []
        digests = [
            word.removeprefix("sha256:") for word in json.loads(config)["rootfs"]["diff_ids"]
        ]
        for digest, name in zip(digests, listing["Layers"], strict=True):
            member = docker.getmember(name)
            layers.append(_descriptor(LAYER, digest, member.size))
            if present(digest):
                continue
            carried += 1
            entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
            entry.size = member.size
            oci.addfile(entry, docker.extractfile(member))
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, _digest(config), len(config)),
                "layers": layers,
            }
        )
        described = _descriptor(MANIFEST, _digest(manifest), len(manifest))
        names = {"io.containerd.image.name": image, "org.opencontainers.image.ref.name": image}
        index = {"schemaVersion": 2, "mediaType": INDEX}
        _add(oci, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(
            oci, "index.json", _json({**index, "manifests": [{**described, "annotations": names}]})
        )
        for blob in (config, manifest):
            _add(oci, f"blobs/sha256/{_digest(blob)}", blob)
    return carried


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise FileNotFoundError(f"{name} is not a file of this docker-archive")
    return file.read()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
