#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Process 1 of a node: makes the node's view of the file system, then keeps containerd and the
# kubelet running. Started in fresh mount, UTS, IPC, PID and cgroup namespaces with
# NODE, STATE (the node's folder), BIN (folder with the kubelet) and CGROUPS (one
# "target type options" a line) in the environment.
set -euo pipefail

hostname "$NODE"
mount --make-rprivate /

for path in /var/lib/containerd /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers \
  /etc/cni /etc/containerd /opt/cni; do
  mkdir -p "$STATE/root$path"
  mount --bind "$STATE/root$path" "$path"
done
mkdir -p "$STATE/root/etc/cni/net.d" "$STATE/root/opt/cni/bin"
# As Kubernetes packages do: containerd before 2.0 wants it for every sandbox.
cp /usr/lib/cni/loopback "$STATE/root/opt/cni/bin/"
for path in /etc/hostname /etc/hosts /etc/machine-id; do
  mount --bind "$STATE/root$path" "$path"
done

mount -t proc proc /proc
# Machine-wide settings that the kubelet would write: it reads the values it wants instead.
for setting in vm/overcommit_memory kernel/panic kernel/panic_on_oops; do
  mount --bind "$STATE/sysctl/$setting" "/proc/sys/$setting"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
mount -t sysfs sysfs /sys
pure=true
while read -r target kind options; do
  [ "$kind" = cgroup ] && pure=false
done <<<"$CGROUPS"
$pure || mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while read -r target kind options; do
  [ -n "$target" ] || continue
  mkdir -p "$target"
  if [ "$kind" = cgroup2 ]; then
    mount -t cgroup2 cgroup2 "$target"
  else
    mount -t cgroup -o "$options" cgroup "$target"
  fi
done <<<"$CGROUPS"
if $pure; then
  # A cgroup that hands controllers down may hold no process itself.
  mkdir -p /sys/fs/cgroup/init
  while read -r pid; do
    echo "$pid" >/sys/fs/cgroup/init/cgroup.procs || true
  done </sys/fs/cgroup/cgroup.procs
  while read -r -d ' ' controller; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
  done < <(tr '\n' ' ' </sys/fs/cgroup/cgroup.controllers)
fi
mount -t bpf bpf /sys/fs/bpf
mount --make-rshared /
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding

supervise() {
  local log=$1
  shift
  while :; do
    "$@" >>"$log" 2>&1 || true
    sleep 0.3
  done
}
mkdir -p "$STATE/logs"
supervise "$STATE/logs/containerd.log" containerd --config "$STATE/containerd.toml" &
while [ ! -S /run/containerd/containerd.sock ]; do sleep 0.05; done
supervise "$STATE/logs/kubelet.log" "$BIN/kubelet" --config "$STATE/kubelet.json" \
  --kubeconfig "$STATE/kubeconfig" --hostname-override "$NODE" --node-ip "$NODE_IPS" \
  --cert-dir /var/lib/kubelet/pki &
wait
