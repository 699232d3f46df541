# SPDX-License-Identifier: Apache-2.0
"""`cilium policy trace`: verdicts on packets of a cluster that is only manifests. Blocking."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cilium_cli.errors import CliError
from cilium_cli.policy.files import STDIN, load
from cilium_core.errors import FieldError
from cilium_core.policy.trace import Judgement, World, judge, parse_probe


class TraceError(CliError):
    """A probe that cannot be judged; the message names its field."""


def run_trace(
    paths: Sequence[str], probe: Mapping[str, Any], cluster: str = "default", json: bool = False
) -> int:
    """Judge one probe, given as its JSON object, and print why. Returns the exit status, 0.

    Objects that are not valid are named on stderr. FileError and TraceError for what stops it.
    """
    world = _world(paths, cluster)
    try:
        found = judge(world, parse_probe(probe))
    except FieldError as error:
        raise TraceError(str(error)) from error
    print(jsonlib.dumps(report(found), indent=2) if json else text(found))
    return 0


def run_probes(
    paths: Sequence[str], probes: str, cluster: str = "default", json: bool = False
) -> int:
    """Judge the probes in a file of JSON lines (`-`: standard input), a line of output for each.

    A line that cannot be judged is answered with `error`; then the exit status is 1, else 0.
    """
    world = _world(paths, cluster)
    status = 0
    for line in _lines(probes):
        try:
            answer = report(judge(world, parse_probe(_object(line))))
        except FieldError as error:
            answer, status = {"verdict": "error", "error": str(error)}, 1
        reason = answer.get("decided_by") or answer.get("error")
        print(jsonlib.dumps(answer) if json else f"{answer['verdict']:<11} {reason}")
    return status


def probe_of(
    source: str | None,
    target: str | None,
    port: str | None,
    protocol: str | None,
    icmp_type: str | None,
    request: str | None,
) -> dict[str, Any]:
    """Return the probe that flags ask for; empty without any. TraceError for a bad request."""
    found = {"from": source, "to": target, "port": port, "protocol": protocol}
    probe: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if icmp_type is not None:
        probe["icmp"] = {"type": icmp_type}
    if request is not None:
        try:
            probe |= _object(request)
        except FieldError as error:
            raise TraceError(f"--request: {error.reason}") from error
    return probe


def report(found: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON: `verdict`, `decided_by`, and what each side said."""
    answer: dict[str, Any] = {"verdict": str(found.answer), "decided_by": found.decided_by}
    for side in found.sides:
        said = {"verdict": str(side.answer), "decided_by": side.decided_by}
        if side.hint:
            said["hint"] = side.hint
        answer[side.direction.name.lower()] = said
    if found.service:
        answer["service"] = found.service
        answer["backends"] = [
            {"to": one.target.party.name, "port": one.target.port, "verdict": str(one.answer)}
            for one in found.backends
            if one.target
        ]
    return answer


def text(found: Judgement) -> str:
    """Return a judgement as lines for a terminal."""
    lines = [f"from     {found.source.name}"]
    if found.target:
        through = f" (behind service {found.service})" if found.service else ""
        lines.append(f"to       {found.target.party.name}, port {found.target.port}{through}")
    for side in found.sides:
        lines.append(f"{side.direction.name.lower():<9}{side.answer}: {side.decided_by}")
        if side.hint:
            lines.append(f"         nearest: {side.hint}")
    if not found.sides:
        lines.append(f"         {found.decided_by}")
    others = [one for one in found.backends if one.target != found.target and one.target]
    lines += [
        f"         also {one.target.party.name}: {one.answer}" for one in others if one.target
    ]
    return "\n".join([*lines, f"verdict  {found.answer}"])


def _world(paths: Sequence[str], cluster: str) -> World:
    world = World((manifest.body for manifest in load(paths)), cluster)
    for problem in world.problems:
        print(f"Warning: not enforced: {problem}", file=sys.stderr)
    return world


def _lines(file: str) -> Iterator[str]:
    try:
        whole = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise TraceError(f"{file}: {reason}") from error
    return (line for line in whole.splitlines() if line.strip())


def _object(line: str) -> Mapping[str, Any]:
    try:
        found = jsonlib.loads(line)
    except ValueError as error:
        raise FieldError("probe", f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise FieldError("probe", "a JSON object is needed")
    return found
