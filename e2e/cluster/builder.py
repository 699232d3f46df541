# SPDX-License-Identifier: Apache-2.0
"""buildah with a store of its own under the cache folder, and the Debian base image.

Every call runs in a private mount namespace: buildah leaves mounts of its store behind otherwise.
A builder behind a proxy with its own CA: the host's bundle is bound at /mnt inside build steps,
a folder that is in every Debian image and empty, so that nothing of it stays in an image.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import spec
from e2e.cluster.shell import Progress, run

BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
SUITE = "bookworm"
CA_IN_BUILD = "/mnt/host-ca.pem"
BUILD_SECONDS = 1800


def buildah(*words: str | Path, timeout: float = BUILD_SECONDS) -> str:
    """Run buildah on the cache's store and return what it printed."""
    store = spec.cache_folder() / "containers"
    return run(
        [
            *("unshare", "--mount", "--propagation", "private", "buildah"),
            *("--root", store, "--runroot", store / "run", "--storage-driver", "overlay"),
            *words,
        ],
        timeout=timeout,
        env={
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_CONF": str(_own_settings(store)),
        },
    )


def _own_settings(store: Path) -> Path:
    """buildah leaves a lock in its folder of network settings, by default the machine's own."""
    file = store.with_name("containers.conf")
    text = f'[network]\nnetwork_config_dir = "{store}/networks"\n'
    if not file.exists() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return file


def exists(image: str) -> bool:
    """Whether the store has `image`."""
    return image in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()


def ensure_base(progress: Progress) -> None:
    """Make the Debian base image by debootstrap unless the store has it (half a minute, once)."""
    if exists(BASE_IMAGE):
        return
    progress.step("making the Debian base image with debootstrap (half a minute, once)")
    root = spec.cache_folder() / f"debootstrap-{os.getpid()}"
    try:
        run(["debootstrap", "--variant=minbase", SUITE, root], timeout=BUILD_SECONDS)
        _slim(root)
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, root, "/")
        buildah("config", "--cmd", "bash", "--env", "PATH=" + _PATH, container)
        buildah("commit", "--rm", "--quiet", container, BASE_IMAGE)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def build(image: str, dockerfile: Path, context: Path) -> None:
    """Build one image from its Dockerfile, layers cached in the store."""
    buildah(
        *("bud", "--isolation", "chroot", "--network", "host", "--pull=never", "--layers"),
        *("--format", "docker"),
        *_own_authority(),
        *("-f", dockerfile, "-t", image, context),
    )


def export(image: str, target: Path) -> None:
    """Write `image` as a docker-archive that `ctr images import` reads."""
    part = target.with_suffix(f".{os.getpid()}")
    part.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    buildah("push", "--quiet", image, f"docker-archive:{part}:{image}")
    part.rename(target)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _slim(root: Path) -> None:
    # The machine's own package sources bring security updates; debootstrap knows only the release.
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if sources.exists():
        target = root / "etc/apt/sources.list.d/debian.sources"
        target.write_text(sources.read_text())
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(
        "path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\n"
        "path-exclude /usr/share/locale/*\n"
    )


def _own_authority() -> Sequence[str]:
    bundle = os.environ.get("SSL_CERT_FILE")
    if not bundle or not Path(bundle).is_file():
        return ()
    folder = spec.cache_folder() / "ca"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle, folder / Path(CA_IN_BUILD).name)
    words = ["--volume", f"{folder}:{Path(CA_IN_BUILD).parent}:ro"]
    for name in ("SSL_CERT_FILE", "PIP_CERT"):
        words += ["--build-arg", f"{name}={CA_IN_BUILD}"]
    return words
