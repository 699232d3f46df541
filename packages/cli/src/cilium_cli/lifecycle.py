# SPDX-License-Identifier: Apache-2.0
"""`cilium install`, `upgrade` and `uninstall`: a Helm command line each. Blocking."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cilium_cli.durations import parse_duration
from cilium_cli.errors import HelmError
from cilium_cli.helm import chart_path, chart_version, run_helm

AFTER_UNINSTALL = """\
{name} is gone from the cluster and from its nodes, and so are the network devices of pods.
Pods that still run have no network, also after a new install, until they are restarted:
  kubectl delete pods --all-namespaces --field-selector spec.hostNetwork=false
"""
_NAME_IN_USE = "cannot re-use a name that is still in use"  # Helm's words


@dataclass(frozen=True, slots=True)
class Release:
    """Which release, in which cluster, as whom; empty strings are Helm's defaults."""

    name: str = "cilium"
    namespace: str = "kube-system"
    kubeconfig: str = ""
    context: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()

    def flags(self) -> list[str]:
        """Return the flags that say so to Helm."""
        flags = ["--namespace", self.namespace]
        for flag, value in (
            ("--kubeconfig", self.kubeconfig),
            ("--kube-context", self.context),
            ("--kube-as-user", self.user),
        ):
            if value:
                flags += [flag, value]
        for group in self.groups:
            flags += ["--kube-as-group", group]
        return flags


@dataclass(frozen=True, slots=True)
class Change:
    """What to change: values files, single values, and how they meet the release's own.

    `settings` are Helm's flags for single values (`--set`, `--set-string`, `--set-file`), each with
    its text. Helm reads them kind by kind, whatever their order.
    """

    values: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    version: str = ""
    dry_run: bool = False
    reuse: bool = False
    reset: bool = False
    reset_then_reuse: bool = False

    def flags(self) -> list[str]:
        """Return Helm's flags. HelmError when another chart version is asked for."""
        carried = chart_version()
        if self.version and self.version.removeprefix("v") != carried:
            raise HelmError(
                f"--version: this command carries chart {carried} only; "
                f"install the cilium-cli of version {self.version}"
            )
        flags: list[str] = []
        for file in self.values:
            flags += ["--values", file]
        for flag, text in self.settings:
            flags += [flag, text]
        flags += ["--reuse-values"] * self.reuse + ["--reset-values"] * self.reset
        flags += ["--reset-then-reuse-values"] * self.reset_then_reuse
        # The chart looks the API server up, so a dry run asks the cluster too.
        flags += ["--dry-run=server"] * self.dry_run
        return flags


def install(release: Release, change: Change) -> None:
    """Install the carried chart. HelmError when the release exists or a value is wrong."""
    try:
        _apply("install", release, change)
    except HelmError as error:
        if _NAME_IN_USE not in str(error):
            raise
        raise HelmError(
            f"{release.name} is already installed in namespace {release.namespace}; "
            "change it with 'cilium upgrade' (--reuse-values keeps its values)"
        ) from error


def upgrade(release: Release, change: Change) -> None:
    """Upgrade an existing release to the carried chart. HelmError when there is none."""
    _apply("upgrade", release, change)


def set_hubble(release: Release, change: Change, *, on: bool, relay: bool, ui: bool) -> None:
    """Turn Hubble and what belongs to it on or off; the release's other values stay."""
    wanted = {"hubble.enabled": on, "hubble.relay.enabled": relay, "hubble.ui.enabled": ui}
    settings = tuple(("--set", f"{key}={str(value).lower()}") for key, value in wanted.items())
    _apply("upgrade", release, replace(change, settings=settings, reuse=True))


def uninstall(release: Release, timeout: str, dry_run: bool) -> None:
    """Remove the release and wait until its hooks have cleaned every node."""
    parse_duration("--timeout", timeout)
    command = ["uninstall", release.name, "--wait", "--timeout", timeout, *release.flags()]
    what = f"uninstalling {release.name} (stops the agents, then cleans every node)"
    print(run_helm(command + ["--dry-run"] * dry_run, what), end="")
    if not dry_run:
        print(AFTER_UNINSTALL.format(name=release.name), end="")


def _apply(verb: str, release: Release, change: Change) -> None:
    command = [verb, release.name, str(chart_path()), *release.flags(), *change.flags()]
    what = f"helm {verb} {release.name}"
    print(run_helm(command, what), end="")
