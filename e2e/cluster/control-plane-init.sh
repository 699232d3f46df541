#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Process 1 of the control plane: keeps etcd, the API server, the controller manager and the
# scheduler running. STATE is the folder that holds one executable script per program in run/.
set -euo pipefail
hostname control-plane
mount --make-rprivate /
mount -t proc proc /proc
supervise() {
  while :; do
    "$STATE/run/$1" >>"$STATE/logs/$1.log" 2>&1 || true
    sleep 0.3
  done
}
for program in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  supervise "$program" &
done
wait
