# SPDX-License-Identifier: Apache-2.0
"""Configuration of a node's containerd and kubelet. Pure: values in, text out."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.cluster import spec

PAUSE_IMAGE = "localhost/cilium-python/pause:0.1.0"


def containerd_toml() -> str:
    """containerd's configuration.

    Without CAP_SYS_RESOURCE runc cannot lower an OOM score, hence `restrict_oom_score_adj`.
    The snapshotters that this machine cannot run are off, and so is the plugin that would
    write to /opt.
    """
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  max_concurrent_downloads = 3
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def kubelet(pki: Path, folder: Path, name: str) -> str:
    """KubeletConfiguration of node `name` as JSON; `folder` holds its resolv.conf."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / f"{name}.crt"),
            "tlsPrivateKeyFile": str(pki / f"{name}.key"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [spec.CLUSTER_DNS],
            "clusterDomain": spec.CLUSTER_DOMAIN,
            "resolvConf": str(folder / "resolv.conf"),
            "registerWithTaints": [
                {"key": spec.AGENT_TAINT, "value": "true", "effect": "NoSchedule"}
            ],
            "makeIPTablesUtilChains": False,
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
            "maxPods": 250,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "5s",
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "shutdownGracePeriod": "0s",
            # Tests kill agents many times; the default back-off of up to 300 s would hide restarts.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        },
        indent=1,
    )


def resolv_conf() -> str:
    """The outside host is the upstream DNS server of nodes."""
    return f"nameserver {spec.OUTSIDE.ipv4}\noptions timeout:1 attempts:2\n"


def hosts(name: str) -> str:
    """/etc/hosts of node `name`."""
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {name}\n"
