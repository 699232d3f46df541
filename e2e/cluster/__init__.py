# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster for the end-to-end suite: `from e2e.cluster import Cluster`.

Command line: `python -m e2e.cluster --help`.
"""

from __future__ import annotations

from e2e.cluster.api import Cluster
from e2e.cluster.errors import ClusterError, CommandFailed, HostNotReady

__all__ = ["Cluster", "ClusterError", "CommandFailed", "HostNotReady"]
