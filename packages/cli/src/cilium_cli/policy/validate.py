# SPDX-License-Identifier: Apache-2.0
"""`cilium policy validate`: says which field of which policy cannot be enforced. Blocking."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cilium_cli.policy.files import FileError, Manifest, load
from cilium_core.policy.language import is_checked, is_policy, problems


class Problem(NamedTuple):
    """One wrong field of one object."""

    file: str
    document: int
    kind: str
    namespace: str
    name: str
    field: str
    reason: str

    def __str__(self) -> str:
        """Return `file: Kind namespace/name: field: reason`."""
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        name = name if name.isprintable() else ascii(name)
        return f"{self.file}: {self.kind} {name}: {self.field}: {self.reason}"


def run_validate(paths: Sequence[str], json: bool = False) -> int:
    """Print every problem of the policies in the files, or how many are valid.

    Returns the exit status: 1 with problems, else 0. FileError when a file cannot be read, or
    nothing in all of them is a policy or what policies refer to.
    """
    manifests = load(paths)
    if not any(is_checked(manifest.body) for manifest in manifests):
        raise FileError(f"no policies in {', '.join(paths)}")
    found = [problem for manifest in manifests for problem in check(manifest)]
    policies = sum(is_policy(manifest.body) for manifest in manifests)
    if json:
        report = {"policies": policies, "problems": [problem._asdict() for problem in found]}
        print(jsonlib.dumps(report, indent=2))
    elif found:
        print("\n".join(map(str, found)))
    else:
        print(f"{policies} {'policy is' if policies == 1 else 'policies are'} valid")
    return 1 if found else 0


def check(manifest: Manifest) -> Iterator[Problem]:
    """Yield what is wrong with one object; nothing for objects that are no policy's business."""
    if not is_checked(manifest.body):
        return
    namespace, name = _names(manifest.body)
    for error in problems(manifest.body):
        yield Problem(
            file=manifest.file,
            document=manifest.document,
            kind=manifest.body["kind"],
            namespace=namespace,
            name=name,
            field=error.field,
            reason=error.reason,
        )


def _names(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return "", ""
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
