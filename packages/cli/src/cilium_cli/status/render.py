# SPDX-License-Identifier: Apache-2.0
"""The status as text, in the layout of the article (cilium-cli of 1.14).

Rows that the article's version did not have come where they leave its alignment as it is: Envoy on
the logo's last line when it is installed, chart version and missing features in a block of their
own at the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from cilium_cli.status.model import AGENT, CLUSTERMESH, ENVOY, OPERATOR, RELAY, PodState, Status
from cilium_cli.status.tabwriter import layout

RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, RESET = (
    f"\033[{code}m" for code in (31, 32, 33, 34, 35, 36, 0)
)
Row = list[str]


class Paint:
    """Adds colours, or leaves texts as they are."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, *runs: tuple[str, str]) -> str:
        """Return the texts of (colour, text) pairs one after the other."""
        if not self._colour:
            return "".join(text for _, text in runs)
        return "".join(colour + text for colour, text in runs) + RESET


def render(status: Status, *, colour: bool = False, verbose: bool = False) -> str:
    """Return the whole text of a status; `verbose` adds a line for each agent."""
    paint = Paint(colour)
    rows: list[Row] = [*_logo(status, paint), [""]]
    rows += _controllers(status, paint)
    rows += _containers(status, paint)
    rows.append(["Cluster Pods:", _managed(status)])
    rows += _images(status)
    rows += _findings(status, paint)
    rows += _headed("Configuration:", ([" ", line] for line in status.config_errors))
    extra = _extra(status)
    if extra:
        rows += [[""], *extra]
    if verbose:
        rows += [[""], *_headed("Agents:", _agents(status))]
    return layout(rows)


def _logo(status: Status, paint: Paint) -> Iterator[Row]:
    yield ["    " + paint((YELLOW, "/¯¯\\"))]
    yield [
        " " + paint((CYAN, "/¯¯"), (YELLOW, "\\__/"), (GREEN, "¯¯\\")),
        "Cilium:",
        _summary(status, AGENT, paint),
    ]
    yield [
        " " + paint((CYAN, "\\__"), (RED, "/¯¯\\"), (GREEN, "__/")),
        "Operator:",
        _summary(status, OPERATOR, paint),
    ]
    yield [
        " " + paint((GREEN, "/¯¯"), (RED, "\\__/"), (MAGENTA, "¯¯\\")),
        "Hubble:",
        _summary(status, RELAY, paint),
    ]
    yield [
        " " + paint((GREEN, "\\__"), (BLUE, "/¯¯\\"), (MAGENTA, "__/")),
        "ClusterMesh:",
        _summary(status, CLUSTERMESH, paint),
    ]
    last = "    " + paint((BLUE, "\\__/"))
    if ENVOY in status.pod_state:
        # One cell: the longer label would move the article's column.
        yield [last, f"Envoy DaemonSet:    {_summary(status, ENVOY, paint)}"]
    else:
        yield [last]


def _summary(status: Status, controller: str, paint: Paint) -> str:
    errors, warnings = status.count(controller)
    parts = []
    if errors:
        parts.append(paint((RED, f"{errors} errors")))
    if warnings:
        parts.append(paint((YELLOW, f"{warnings} warnings")))
    if status.disabled(controller):
        parts.append(paint((CYAN, "disabled")))
    return ", ".join(parts) or paint((GREEN, "OK"))


def _managed(status: Status) -> str:
    counts = status.pods_count
    if status.phase_count.get(AGENT) == {}:  # asked, and there is none
        left = f"; {counts.by_cilium} CiliumEndpoints are left" if counts.by_cilium else ""
        return f"0/{counts.all} managed by Cilium: no agent runs{left}"
    return f"{counts.by_cilium}/{counts.all} managed by Cilium"


def _controllers(status: Status, paint: Paint) -> Iterator[Row]:
    for name, state in sorted(status.pod_state.items()):
        yield [state.type, name, _counts(state, paint)]


def _counts(state: PodState, paint: Paint) -> str:
    parts = [f"Desired: {state.desired}"]
    for word, number in (("Ready", state.ready), ("Available", state.available)):
        if number:
            colour = GREEN if number >= state.desired else YELLOW
            parts.append(f"{word}: {paint((colour, f'{number}/{state.desired}'))}")
    if state.unavailable:
        parts.append(f"Unavailable: {paint((RED, f'{state.unavailable}/{state.desired}'))}")
    return ", ".join(parts)


def _headed(header: str, rows: Iterator[Row]) -> Iterator[Row]:
    """Put the header before the first row and nothing before the others."""
    for row in rows:
        yield [header, *row]
        header = ""


def _containers(status: Status, paint: Paint) -> Iterator[Row]:
    def rows() -> Iterator[Row]:
        for name, phases in sorted(status.phase_count.items()):
            parts = []
            for phase, number in sorted(phases.items()):
                colour = RED if phase in ("Failed", "Unknown") else GREEN
                parts.append(f"{phase}: {paint((colour, str(number)))}")
            yield [name, ", ".join(parts) or paint((YELLOW, "none"))]

    return _headed("Containers:", rows())


def _images(status: Status) -> Iterator[Row]:
    return _headed(
        "Image versions",
        (
            [name, f"{image}: {number}"]
            for name, images in sorted(status.image_count.items())
            for image, number in sorted(images.items())
        ),
    )


def _findings(status: Status, paint: Paint) -> Iterator[Row]:
    pods = [
        (controller, pod, findings)
        for controller, by_pod in sorted(status.errors.items())
        for pod, findings in sorted(by_pod.items())
    ]
    yield from _headed(
        "Errors:", ([name, pod, paint((RED, text))] for name, pod, f in pods for text in f.errors)
    )
    yield from _headed(
        "Warnings:",
        ([name, pod, paint((YELLOW, text))] for name, pod, f in pods for text in f.warnings),
    )


def _extra(status: Status) -> list[Row]:
    rows: list[Row] = []
    if status.helm_chart_version:
        rows.append(["Helm chart version:", status.helm_chart_version])
    if status.features_not_available:
        rows.append(["Not yet available:", ", ".join(status.features_not_available)])
    return rows


def _agents(status: Status) -> Iterator[Row]:
    for pod, reply in sorted(status.cilium_status.items()):
        own = reply.get("cilium") or {}
        endpoints = status.cilium_endpoints.get(pod, [])
        ready = sum((e.get("status") or {}).get("state") == "ready" for e in endpoints)
        said = f"{own.get('state', '?')} {own.get('msg', '')}".strip()
        yield [pod, said, f"{ready}/{len(endpoints)} endpoints ready"]
