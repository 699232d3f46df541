# SPDX-License-Identifier: Apache-2.0
"""Real Helm on the chart, without a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "cilium"
ARTICLE = ROOT / "e2e" / "values.yaml"
SERVER = {"k8sServiceHost": "172.30.0.10", "k8sServicePort": "6443"}


@dataclass
class Rendered:
    """What `helm template` gave: an exit code, objects, and the complaint."""

    code: int
    error: str
    objects: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return the one object of that kind and name."""
        found = [o for o in self.objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
        assert len(found) == 1, f"{kind} {name}: {len(found)} objects"
        return found[0]

    @property
    def config(self) -> dict[str, str]:
        """Return the data of ConfigMap cilium-config."""
        data: dict[str, str] = self.get("ConfigMap", "cilium-config")["data"]
        return data


Render = Callable[..., Rendered]


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Helm of this environment."""
    helm = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    assert helm, "helm-binary is not installed"
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Return a function: values (and more helm arguments) → what the chart renders."""

    def call(values: dict[str, Any] | None = None, *more: str, server: bool = True) -> Rendered:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump({**(SERVER if server else {}), **(values or {})}))
        done = run_helm(
            *("template", "cilium", str(CHART), "-n", "kube-system", *more, "-f", str(file))
        )
        objects = [o for o in yaml.safe_load_all(done.stdout) if o] if not done.returncode else []
        return Rendered(done.returncode, done.stderr, objects, done.stdout)

    return call
