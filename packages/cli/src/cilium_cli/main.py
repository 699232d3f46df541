# SPDX-License-Identifier: Apache-2.0
"""The entry point: parses, imports what the chosen command needs, and prints errors.

Every command blocks until it is done; those that ask a cluster run an event loop of their own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cilium_cli.arguments import build
from cilium_cli.errors import CliError

if TYPE_CHECKING:
    from argparse import Namespace

    from cilium_cli.kube.kubeconfig import Access
    from cilium_cli.lifecycle import Change, Release


def _access(given: Namespace) -> Access:
    from dataclasses import replace

    from cilium_cli.kube.kubeconfig import load

    if given.groups and not given.user:
        raise CliError("--as-group: needs --as")
    access = load(given.kubeconfig or None, given.context or None)
    if given.user:
        access = replace(access, impersonate=given.user, impersonate_groups=tuple(given.groups))
    return access


def _status(given: Namespace) -> None:
    from cilium_cli.status.command import StatusOptions, run_status

    options = StatusOptions(
        namespace=given.namespace,
        wait=given.wait,
        wait_seconds=given.wait_duration,
        ignore_warnings=given.ignore_warnings,
        workers=given.worker_count,
        json=given.output == "json",
        interactive=given.interactive,
        verbose=given.verbose,
    )
    run_status(_access(given), options)


def _release(given: Namespace) -> Release:
    from cilium_cli.lifecycle import Release

    if given.groups and not given.user:
        raise CliError("--as-group: needs --as")
    return Release(
        name=given.helm_release_name,
        namespace=given.namespace,
        kubeconfig=given.kubeconfig,
        context=given.context,
        user=given.user,
        groups=tuple(given.groups),
    )


def _change(given: Namespace) -> Change:
    from cilium_cli.lifecycle import Change

    return Change(
        values=tuple(given.values),
        settings=tuple(given.settings),
        version=given.version,
        dry_run=given.dry_run,
        reuse=getattr(given, "reuse_values", False),
        reset=getattr(given, "reset_values", False),
        reset_then_reuse=getattr(given, "reset_then_reuse_values", False),
    )


def _wait_ready(given: Namespace) -> None:
    from cilium_cli.status.command import StatusOptions, run_status

    if given.wait and not given.dry_run:
        options = StatusOptions(
            namespace=given.namespace, wait=True, wait_seconds=given.wait_duration
        )
        run_status(_access(given), options)


def _install(given: Namespace) -> None:
    from cilium_cli import lifecycle

    lifecycle.install(_release(given), _change(given))
    _wait_ready(given)


def _upgrade(given: Namespace) -> None:
    from cilium_cli import lifecycle

    lifecycle.upgrade(_release(given), _change(given))
    _wait_ready(given)


def _uninstall(given: Namespace) -> None:
    from cilium_cli import lifecycle

    lifecycle.uninstall(_release(given), given.timeout, given.dry_run)


def _version(given: Namespace) -> None:
    from cilium_cli import versions

    print(versions.client_text())
    if not given.client:
        print(versions.running_text(lambda: _access(given), given.namespace))


def _policy_validate(given: Namespace) -> None:
    from cilium_cli.policy.validate import run_validate

    sys.exit(run_validate(given.files, json=given.output == "json"))


def _policy_trace(given: Namespace) -> None:
    from cilium_cli.policy.trace import probe_of, run_probes, run_trace

    probe = probe_of(
        given.source, given.target, given.port, given.protocol, given.icmp_type, given.request
    )
    if given.probes:
        if probe:
            raise CliError("--probes: not beside --from, --to and what belongs to them")
        json = given.output == "json"
        sys.exit(run_probes(given.files, given.probes, given.cluster_name, json))
    sys.exit(run_trace(given.files, probe, given.cluster_name, json=given.output == "json"))


def _hubble_port_forward(given: Namespace) -> None:
    from cilium_cli.hubble.forwarding import run_port_forward

    run_port_forward(_access(given), given.namespace, given.port)


def _hubble_enable(given: Namespace) -> None:
    from cilium_cli import lifecycle

    change = lifecycle.Change(dry_run=given.dry_run)
    lifecycle.set_hubble(_release(given), change, on=True, relay=given.relay, ui=given.ui)
    _wait_ready(given)


def _hubble_disable(given: Namespace) -> None:
    from cilium_cli import lifecycle

    change = lifecycle.Change(dry_run=given.dry_run)
    lifecycle.set_hubble(_release(given), change, on=False, relay=False, ui=False)
    _wait_ready(given)


COMMANDS = {
    "status": _status,
    "install": _install,
    "upgrade": _upgrade,
    "uninstall": _uninstall,
    "version": _version,
    "hubble port-forward": _hubble_port_forward,
    "hubble enable": _hubble_enable,
    "hubble disable": _hubble_disable,
    "policy validate": _policy_validate,
    "policy trace": _policy_trace,
}


def main() -> None:
    """Run the command; errors become `Error: …` on stderr and exit status 1."""
    try:
        given = build().parse_args()
        COMMANDS[given.command](given)
    except CliError as error:
        print(f"\nError: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
