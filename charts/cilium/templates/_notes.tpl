{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* What an installation prints. */}}
{{- define "cilium.notes" -}}
Cilium {{ .Chart.AppVersion }} is being {{ ternary "upgraded" "installed" .Release.IsUpgrade }} in namespace {{ .Release.Namespace }}.

  cilium status --wait --namespace {{ .Release.Namespace }}

IPv4: {{ .Values.ipv4.enabled }}, IPv6: {{ include "cilium.ipv6" . }}{{ if eq (toString .Values.ipv6.enabled) "auto" }} (from the nodes' addresses){{ end }}
{{- if .Values.envoy.enabled }}
Proxies: DaemonSet cilium-envoy, which agents come and go without; its settings: ConfigMap cilium-envoy-config
{{- end }}
{{- with include "cilium.featuresNotAvailable" . }}

Your values turn these on, and this version does not have them yet: {{ . | replace "," ", " }}
{{- end }}

Uninstalling cleans every node (a short-lived DaemonSet) and restores CNI configurations that were
renamed to *.cilium_bak. CustomResourceDefinitions, their objects and the Secrets of Hubble's
certificates stay.
{{- end -}}
