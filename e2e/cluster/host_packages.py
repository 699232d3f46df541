# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that the cluster needs on the machine: one list, checked and installed.

The list itself is tools/apt-packages.txt, which `make install` uses too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2e.cluster import spec
from e2e.cluster.errors import HostNotReady
from e2e.cluster.shell import Progress, require_root, run

LIST = spec.REPOSITORY / "tools" / "apt-packages.txt"
# What `up` itself starts, looked for by name so that it also works off Debian.
LOOPBACK_PLUGIN = Path("/usr/lib/cni/loopback")
PROGRAMS = ("containerd", "runc", "ctr", "ip", "nsenter", "unshare", "openssl", "nft", "buildah")


def missing_packages() -> list[str]:
    """Packages of the list that dpkg does not have."""
    words = [line.strip() for line in LIST.read_text().splitlines()]
    wanted = [word for word in words if word and not word.startswith("#")]
    known = run(["dpkg-query", "-W", "-f", "${Package} ${Status}\n"])
    have = {line.split()[0] for line in known.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in have]


def ensure_host_packages(progress: Progress) -> None:
    """Install what is missing with apt-get; needs root only then."""
    missing = missing_packages()
    if not missing:
        return
    require_root()
    progress.step(f"installing {len(missing)} packages: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=env, timeout=600)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    run(install, env=env, timeout=1800)


def require_host_packages() -> None:
    """Raise `HostNotReady` that names each program that is missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not LOOPBACK_PLUGIN.exists():
        missing.append(str(LOOPBACK_PLUGIN))
    if missing:
        raise HostNotReady(f"missing programs: {', '.join(missing)}; run `make install` as root")
