# SPDX-License-Identifier: Apache-2.0
"""The cluster's images: one table, built when their inputs change, loaded where they are missing.

For the owners of Dockerfiles: `FROM docker.io/library/debian:bookworm-slim`, then packages of the
system, then third-party Python packages, and only then `COPY` of own sources: a change of code
then rebuilds and imports one small layer. `inputs` must name every file that the image depends on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries, builder, content, node_config, spec
from e2e.cluster.shell import Progress

# What resolving the workspace from its lock file reads.
WORKSPACE = ("pyproject.toml", "uv.lock")
CLUSTER_FOLDER = "e2e/cluster/images"


@dataclass(frozen=True)
class Image:
    """An image: its full name, its Dockerfile and inputs below the repository, and, when it is
    one program of the cluster's own, what makes that program."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    program: Callable[[Progress], Path] | None = None


IMAGES = (
    Image(
        node_config.PAUSE_IMAGE,
        f"{CLUSTER_FOLDER}/pause/Dockerfile",
        (f"{CLUSTER_FOLDER}/pause",),
        lambda _progress: binaries.pause(),
    ),
    Image(
        f"localhost/cilium-python/coredns:{spec.COREDNS_VERSION.removeprefix('v')}",
        f"{CLUSTER_FOLDER}/coredns/Dockerfile",
        (f"{CLUSTER_FOLDER}/coredns",),
        binaries.coredns,
    ),
    Image(
        "localhost/cilium-python/cilium-agent:0.1.0",
        "packages/agent/Dockerfile",
        (*WORKSPACE, "packages/core", "packages/agent", "packages/hubble"),
    ),
    Image(
        "localhost/cilium-python/cilium-operator:0.1.0",
        "packages/operator/Dockerfile",
        (*WORKSPACE, "packages/core", "packages/operator"),
    ),
    Image(
        "localhost/cilium-python/cilium-proxy:0.1.0",
        "packages/proxy/Dockerfile",
        (*WORKSPACE, "packages/core", "packages/proxy"),
    ),
    Image(
        "localhost/cilium-python/emojivoto:0.1.0",
        "e2e/emojivoto/Dockerfile",
        ("e2e/emojivoto",),
    ),
    Image(
        "localhost/cilium-python/probe:0.1.0",
        "e2e/probe/Dockerfile",
        ("e2e/probe", "e2e/canary", "e2e/__init__.py"),
    ),
)


@dataclass(frozen=True)
class Archive:
    """A built image as a file: `key` changes when its content does."""

    image: str
    key: str
    path: Path


def select(names: Sequence[str]) -> list[Image]:
    """The images whose name contains one of `names`; all when `names` is empty."""
    return [i for i in IMAGES if not names or any(name in i.name for name in names)]


def build_all(progress: Progress, names: Sequence[str] = ()) -> list[Archive]:
    """Build what changed; an image whose Dockerfile is missing is skipped with a warning."""
    archives = []
    for image in select(names):
        if not (spec.REPOSITORY / image.dockerfile).exists():
            progress.warn(f"{image.name}: no {image.dockerfile} yet, skipped")
            continue
        archives.append(_built(image, progress))
    return archives


def _built(image: Image, progress: Progress) -> Archive:
    root = spec.REPOSITORY
    files = content.files_below(root, [image.dockerfile, *image.inputs])
    words = [image.name, builder.SUITE]
    program = image.program(progress) if image.program else None
    if program is not None:
        words.append(program.name)
    key = content.key_of(root, files, words)
    short = image.name.rsplit("/", 1)[1].replace(":", "-")
    folder = spec.cache_folder() / "images"
    path = folder / f"{short}-{key}.tar"
    if path.exists():
        return Archive(image.name, key, path)
    progress.step(f"building {image.name}")
    if program is None:
        builder.ensure_base(progress)
        builder.build(image.name, root / image.dockerfile, root)
    else:
        with tempfile.TemporaryDirectory() as context:
            shutil.copy(program, Path(context) / program.name.split("-")[0])
            builder.build(image.name, root / image.dockerfile, Path(context))
    builder.export(image.name, path)
    for old in folder.glob(f"{short}-*.tar"):
        if old != path:
            old.unlink(missing_ok=True)
    progress.step(f"built {image.name} ({path.stat().st_size / 1e6:.0f} MB)")
    return Archive(image.name, key, path)


class Loaded:
    """Which archive each node's containerd has, kept in a file beside the node's store."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _read(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads(self._file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return known

    def missing(self, archives: Sequence[Archive]) -> list[Archive]:
        """The archives that this node does not have."""
        known = self._read()
        return [archive for archive in archives if known.get(archive.image) != archive.key]

    def add(self, archive: Archive) -> None:
        """Remember that the node has this archive."""
        self._file.write_text(json.dumps({**self._read(), archive.image: archive.key}))
