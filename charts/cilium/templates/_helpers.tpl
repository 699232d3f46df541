{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* Names, labels, and the values that are resolved against the cluster. */}}

{{- define "cilium.labels" -}}
app.kubernetes.io/part-of: cilium
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* A reference from an image value: override, or repository, tag and digest. */}}
{{- define "cilium.image" -}}
{{- if .override -}}
{{ .override }}
{{- else -}}
{{- if and .useDigest (not .digest) -}}{{- fail "image.useDigest: true needs image.digest" -}}{{- end -}}
{{ .repository }}:{{ .tag }}{{ if .useDigest }}@{{ .digest }}{{ end }}
{{- end -}}
{{- end -}}

{{/* "true" or "false": whether pods get IPv6 addresses. */}}
{{- define "cilium.ipv6" -}}
{{- if ne (toString .Values.ipv6.enabled) "auto" -}}
{{ .Values.ipv6.enabled }}
{{- else -}}
  {{- $found := dict "ipv6" "false" -}}
  {{- range $node := (lookup "v1" "Node" "" "").items -}}
    {{- range $address := $node.status.addresses -}}
      {{- if and (eq $address.type "InternalIP") (contains ":" $address.address) -}}
        {{- $_ := set $found "ipv6" "true" -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{ $found.ipv6 }}
{{- end -}}
{{- end -}}

{{/* JSON list of {host, port}: the API server's own addresses, in the order to try them. */}}
{{- define "cilium.apiServers" -}}
{{- $servers := list -}}
{{- $port := toString .Values.k8sServicePort -}}
{{- if has (toString .Values.k8sServiceHost) (list "" "auto") -}}
  {{- $slice := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
  {{- if $slice -}}
    {{- if not $port -}}{{- $port = toString (first $slice.ports).port -}}{{- end -}}
    {{- range $endpoint := $slice.endpoints -}}
      {{- range $endpoint.addresses -}}{{- $servers = append $servers (dict "host" . "port" $port) -}}{{- end -}}
    {{- end -}}
  {{- end -}}
  {{- if not $servers -}}
    {{- fail "k8sServiceHost: auto needs the cluster, and EndpointSlice default/kubernetes could not be read; set k8sServiceHost and k8sServicePort to the API server's own address (not the Service's), or render with --dry-run=server" -}}
  {{- end -}}
{{- else -}}
  {{- if not $port -}}{{- fail "k8sServicePort: needed when k8sServiceHost is set" -}}{{- end -}}
  {{- $servers = list (dict "host" .Values.k8sServiceHost "port" $port) -}}
{{- end -}}
{{ $servers | toJson }}
{{- end -}}

{{/* Environment that both agent and operator need to reach the API server without any Service. */}}
{{- define "cilium.env" -}}
{{- $servers := include "cilium.apiServers" . | fromJsonArray -}}
- name: K8S_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: CILIUM_K8S_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- include "cilium.apiServerEnv" . }}
{{- end -}}

{{- define "cilium.apiServerEnv" -}}
{{- $servers := include "cilium.apiServers" . | fromJsonArray -}}
{{- $joined := list -}}
{{- range $servers -}}
  {{- $joined = append $joined (printf "%s:%s" (ternary (printf "[%s]" .host) .host (contains ":" .host)) .port) -}}
{{- end -}}
{{- /* Nothing was found only under `helm lint`, where fail does not fail. */ -}}
{{- $first := first $servers | default dict }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ $first.host | default "" | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ $first.port | default "" | quote }}
- name: CILIUM_K8S_API_SERVERS
  value: {{ join "," $joined | quote }}
{{- end -}}

{{/* The cluster's service ranges, that pod pools are carved around; empty when not readable. */}}
{{- define "cilium.serviceCIDRs" -}}
{{- $cidrs := list -}}
{{- if .Capabilities.APIVersions.Has "networking.k8s.io/v1/ServiceCIDR" -}}
  {{- range (lookup "networking.k8s.io/v1" "ServiceCIDR" "" "").items -}}
    {{- $cidrs = concat $cidrs .spec.cidrs -}}
  {{- end -}}
{{- end -}}
{{ join " " ($cidrs | uniq) }}
{{- end -}}

{{/* Comma list of what the values turn on and this version does not have. */}}
{{- define "cilium.featuresNotAvailable" -}}
{{- $features := list -}}
{{- if .Values.hubble.enabled -}}
  {{- if .Values.hubble.ui.enabled }}{{ $features = append $features "hubble-ui" }}{{ end -}}
{{- end -}}
{{- if .Values.ingressController.enabled }}{{ $features = append $features "ingress-controller" }}{{ end -}}
{{ join "," $features }}
{{- end -}}

{{/* A number of bytes as text; numbers of values files are floats. */}}
{{- define "cilium.bytes" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ int64 . }}{{ end -}}
{{- end -}}

{{/* The port of hubble.listenAddress. */}}
{{- define "cilium.hubblePort" -}}
{{ last (splitList ":" .Values.hubble.listenAddress) }}
{{- end -}}

{{/* "true" when relay runs: it needs the nodes' hubble. */}}
{{- define "cilium.relay" -}}
{{- if and .Values.hubble.enabled .Values.hubble.relay.enabled -}}true{{- end -}}
{{- end -}}

{{/* "true" when the operator makes Hubble's certificates. */}}
{{- define "cilium.certificates" -}}
{{- $hubble := .Values.hubble -}}
{{- if and $hubble.enabled $hubble.tls.enabled $hubble.tls.auto.enabled -}}true{{- end -}}
{{- end -}}

{{/* JSON list of the Secrets that the operator keeps. */}}
{{- define "cilium.certificateSecrets" -}}
{{- $secrets := list "cilium-ca" "hubble-server-certs" "hubble-relay-client-certs" -}}
{{- if .Values.hubble.relay.tls.server.enabled -}}{{- $secrets = append $secrets "hubble-relay-server-certs" -}}{{- end -}}
{{ $secrets | toJson }}
{{- end -}}

{{/* Mounts and volumes of whatever touches the node: the agent and the clean-up. */}}
{{- define "cilium.nodeMounts" -}}
- name: bpf-maps
  mountPath: /sys/fs/bpf
  mountPropagation: Bidirectional
- name: cgroup
  mountPath: /sys/fs/cgroup
  mountPropagation: HostToContainer
- name: netns
  mountPath: /var/run/netns
  mountPropagation: HostToContainer
- name: cilium-run
  mountPath: /var/run/cilium
- name: cni-bin
  mountPath: /host/opt/cni/bin
- name: cni-conf
  mountPath: /host/etc/cni/net.d
- name: lib-modules
  mountPath: /lib/modules
  readOnly: true
{{- end -}}

{{- define "cilium.nodeVolumes" -}}
- name: bpf-maps
  hostPath: {path: /sys/fs/bpf, type: DirectoryOrCreate}
- name: cgroup
  hostPath: {path: {{ .Values.cgroup.hostRoot | quote }}, type: Directory}
- name: netns
  hostPath: {path: /var/run/netns, type: DirectoryOrCreate}
- name: cilium-run
  hostPath: {path: /var/run/cilium, type: DirectoryOrCreate}
- name: hubble-history
  hostPath: {path: /var/lib/cilium/hubble, type: DirectoryOrCreate}
- name: cni-bin
  hostPath: {path: {{ .Values.cni.binPath | quote }}, type: DirectoryOrCreate}
- name: cni-conf
  hostPath: {path: {{ .Values.cni.confPath | quote }}, type: DirectoryOrCreate}
- name: lib-modules
  hostPath: {path: /lib/modules, type: DirectoryOrCreate}
{{- end -}}
