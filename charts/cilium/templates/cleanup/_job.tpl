{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* A hook Job that waits for one step of the uninstall. Takes root, name, weight, step, timeout. */}}
{{- define "cilium.cleanup.annotations" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "cilium.cleanup.job" -}}
{{- $v := .root.Values -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "cilium.labels" .root | nindent 4 }}
  annotations:
    {{- include "cilium.cleanup.annotations" . | nindent 4 }}
spec:
  backoffLimit: 3
  template:
    metadata:
      labels:
        k8s-app: {{ .name }}
    spec:
      hostNetwork: true
      enableServiceLinks: false
      restartPolicy: Never
      priorityClassName: {{ $v.priorityClassName }}
      serviceAccountName: cilium-cleanup
      tolerations:
        - operator: Exists
      {{- with $v.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: wait
          image: {{ include "cilium.image" $v.image | quote }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          command:
            - python3
            - -c
            - |
              {{- .root.Files.Get "files/cleanup-wait.py" | nindent 14 }}
          args:
            - {{ .step }}
            - {{ .timeout | quote }}
          env:
            {{- include "cilium.env" .root | nindent 12 }}
          resources:
            requests:
              cpu: 10m
              memory: 32Mi
          securityContext:
            allowPrivilegeEscalation: false
            capabilities:
              drop: [ALL]
{{- end -}}
