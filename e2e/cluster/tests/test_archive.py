# SPDX-License-Identifier: Apache-2.0
"""A slim archive names every layer and carries those that are not there."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from e2e.cluster import archive


def _docker_archive(path: Path, layers: list[bytes]) -> list[str]:
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps({"rootfs": {"diff_ids": [f"sha256:{d}" for d in digests]}}).encode()
    names = [f"{digest}.tar" for digest in digests]
    listing = json.dumps([{"Config": "config.json", "Layers": names}]).encode()
    files = {
        "config.json": config,
        "manifest.json": listing,
        **dict(zip(names, layers, strict=True)),
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return digests


def _files(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {m.name: file.read() for m in tar if (file := tar.extractfile(m)) is not None}


def test_only_missing_layers_are_carried_and_all_are_named(tmp_path: Path) -> None:
    first, second = _docker_archive(tmp_path / "in.tar", [b"first layer", b"second"])
    out = tmp_path / "out.tar"
    carried = archive.write_missing(tmp_path / "in.tar", "image:1", lambda d: d == first, out)
    files = _files(out)
    assert carried == 1
    assert files[f"blobs/sha256/{second}"] == b"second"
    assert f"blobs/sha256/{first}" not in files
    described = json.loads(files["index.json"])["manifests"][0]
    assert described["annotations"]["io.containerd.image.name"] == "image:1"
    manifest = json.loads(files[f"blobs/sha256/{described['digest'][7:]}"])
    assert [(layer["digest"], layer["size"]) for layer in manifest["layers"]] == [
        (f"sha256:{first}", 11),
        (f"sha256:{second}", 6),
    ]


def test_every_blob_has_the_digest_and_size_of_its_name(tmp_path: Path) -> None:
    _docker_archive(tmp_path / "in.tar", [b"a", b"b" * 2000])
    archive.write_missing(tmp_path / "in.tar", "image:1", lambda _: False, tmp_path / "out.tar")
    blobs = {n: d for n, d in _files(tmp_path / "out.tar").items() if n.startswith("blobs/")}
    assert len(blobs) == 4
    for name, data in blobs.items():
        assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
