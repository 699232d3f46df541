{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* The containers of DaemonSet cilium-envoy. All run as the owner of their sockets (root). */}}

{{/* What our own processes have in common. Takes root and command. */}}
{{- define "cilium.proxy.process" -}}
image: {{ include "cilium.image" .root.Values.envoy.image | quote }}
imagePullPolicy: {{ .root.Values.envoy.image.pullPolicy }}
command:
  - cilium-proxy
  - {{ .command }}
args:
  - --config-dir
  - /etc/cilium/config
  {{- range .args }}
  - {{ . }}
  {{- end }}
env:
  - name: K8S_NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- with .root.Values.envoy.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{/* Probes of one port of the loopback address. Takes root, port, healthy and ready (paths). */}}
{{- define "cilium.proxy.probes" -}}
{{- $envoy := .root.Values.envoy -}}
startupProbe:
  httpGet:
    host: 127.0.0.1
    path: {{ .healthy }}
    port: {{ .port }}
  failureThreshold: {{ $envoy.startupProbe.failureThreshold }}
  periodSeconds: {{ $envoy.startupProbe.periodSeconds }}
livenessProbe:
  httpGet:
    host: 127.0.0.1
    path: {{ .healthy }}
    port: {{ .port }}
  failureThreshold: {{ $envoy.livenessProbe.failureThreshold }}
  periodSeconds: {{ $envoy.livenessProbe.periodSeconds }}
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    host: 127.0.0.1
    path: {{ .ready }}
    port: {{ .port }}
  failureThreshold: {{ $envoy.readinessProbe.failureThreshold }}
  periodSeconds: {{ $envoy.readinessProbe.periodSeconds }}
  timeoutSeconds: 5
{{- end -}}

{{/* A port for metrics; nothing when there are none. Takes root, name and port. */}}
{{- define "cilium.proxy.metricsPort" -}}
{{- if .root.Values.envoy.prometheus.enabled -}}
ports:
  - name: {{ .name }}
    containerPort: {{ int .port }}
    hostPort: {{ int .port }}
    protocol: TCP
{{- end -}}
{{- end -}}
