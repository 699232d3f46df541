# SPDX-License-Identifier: Apache-2.0
"""The session of the end-to-end suite: cluster, this system, emojivoto and the canary.

Set-up happens once for all xdist workers (a lock file), and every step may be repeated. At the
end the process that runs the session judges the canary; each flow that lost more than its budget
is an error of the session, named in its last lines. The cluster is taken down only if this session
brought it up; `KEEP=1` leaves it. `AS_IS=1` tests what is installed, without building or
installing anything.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e import builds, realtime, system
from e2e.canary import deploy, report
from e2e.canary.budget import Ran
from e2e.canary.errors import CanaryError
from e2e.canary.verdict import report_failures
from e2e.cluster import Cluster
from e2e.kube import Kube, KubeError

NODES = 3
OUTCOME = pytest.StashKey[str]()
RAN: list[Ran] = []


def _session_file() -> Path:
    return Path(tempfile.gettempdir()) / f"cpy-e2e-{os.environ['CPY_E2E_RUN']}.json"


def pytest_configure(config: pytest.Config) -> None:
    """Name this run; xdist workers inherit the name."""
    os.environ.setdefault("CPY_E2E_RUN", str(os.getpid()))


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / "cpy-e2e.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _set_up() -> Cluster:
    cluster = Cluster()
    with _one_at_a_time():
        if _session_file().exists():
            return cluster
        was_up = bool(cluster.nodes)
        if os.environ.get("AS_IS", "") in ("", "0"):
            cluster.up(nodes=NODES)
            cluster.load_images()
            system.install_by_cli(cluster)
            builds.restart_outdated(cluster, system.NAMESPACE)
        system.wait_ready(cluster)
        kube = Kube(cluster.kubeconfig, cluster.provider.kubectl_path)
        dns = kube.service_addresses("kube-system", "kube-dns")
        deploy.start(kube.kubectl, "node1", "node2", dns)
        realtime.prefer_probes()
        _session_file().write_text(json.dumps({"was_up": was_up}))
    return cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster with this system installed and the canary sending."""
    return _set_up()


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    """kubectl on the cluster."""
    return Kube(cluster.kubeconfig, cluster.provider.kubectl_path)


@pytest.fixture(scope="session")
def emojivoto(cluster: Cluster, kube: Kube) -> str:
    """The namespace in which the demo application runs."""
    with _one_at_a_time():
        system.deploy_emojivoto(cluster)
    return "emojivoto"


@pytest.fixture(scope="module")
def namespace(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test module, removed at its end."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-") + "-" + uuid.uuid4().hex[:5]
    kube.kubectl("create", "namespace", name)
    yield name
    kube.kubectl("delete", "namespace", name, "--wait=false")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember when which test ran, for the canary's verdict."""
    RAN.append(Ran(report.nodeid, report.start, report.stop))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Judge the canary, then take down what this session brought up."""
    if hasattr(session.config, "workerinput") or not _session_file().exists():
        return
    cluster = Cluster()
    was_up = json.loads(_session_file().read_text())["was_up"]
    _session_file().unlink()
    kube = Kube(cluster.kubeconfig, cluster.provider.kubectl_path)
    try:
        failures, text = report.check(kube.kubectl, RAN)
    except (CanaryError, KubeError) as error:
        failures, text = [f"canary FAILED: it cannot be judged: {error}"], ""
    session.config.stash[OUTCOME] = "\n".join([text, *failures])
    if failures:
        report_failures(session.config, failures)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if not was_up and os.environ.get("KEEP", "") in ("", "0"):
        cluster.down()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the canary's table."""
    if OUTCOME in config.stash:
        terminalreporter.section("canary")
        terminalreporter.write_line(config.stash[OUTCOME])
