{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* Refuses values that contradict each other or ask for what this version does not do. */}}

{{/* Every key of files/upstream-values.yaml that is set to anything but an accepted setting fails. */}}
{{- define "cilium.validate.upstream" -}}
{{- $values := .Values | toJson | fromJson -}}
{{- range $entry := (.Files.Get "files/upstream-values.yaml" | fromYaml).values -}}
  {{- $found := dict "at" $values "set" true -}}
  {{- range $part := splitList "." $entry.key -}}
    {{- if and (get $found "set") (kindIs "map" (get $found "at")) (hasKey (get $found "at") $part) -}}
      {{- $_ := set $found "at" (get (get $found "at") $part) -}}
    {{- else -}}
      {{- $_ := set $found "set" false -}}
    {{- end -}}
  {{- end -}}
  {{- if get $found "set" -}}
    {{- $asked := get $found "at" | toJson -}}
    {{- $accepted := list -}}
    {{- range $entry.accept -}}{{- $accepted = append $accepted (toJson .) -}}{{- end -}}
    {{- if not (has $asked $accepted) -}}
      {{- if $accepted -}}
        {{- fail (printf "%s: %s is not supported by this version, which has only %s; remove the key" $entry.key $asked (join " or " $accepted)) -}}
      {{- else -}}
        {{- fail (printf "%s: not supported by this version; remove the key" $entry.key) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* tunnel (old) against routingMode and tunnelProtocol (new). */}}
{{- define "cilium.validate.tunnel" -}}
{{- $v := .Values -}}
{{- if $v.tunnel -}}
  {{- $mode := ternary "native" "tunnel" (eq $v.tunnel "disabled") -}}
  {{- if and $v.routingMode (ne $v.routingMode $mode) -}}
    {{- fail (printf "tunnel: %s contradicts routingMode: %s; keep one of them" $v.tunnel $v.routingMode) -}}
  {{- end -}}
  {{- if and $v.tunnelProtocol (eq $mode "tunnel") (ne $v.tunnelProtocol $v.tunnel) -}}
    {{- fail (printf "tunnel: %s contradicts tunnelProtocol: %s; keep one of them" $v.tunnel $v.tunnelProtocol) -}}
  {{- end -}}
  {{- if ne $v.tunnel "vxlan" -}}
    {{- fail (printf "tunnel: %s is not supported by this version, which has only vxlan" $v.tunnel) -}}
  {{- end -}}
{{- end -}}
{{- if eq $v.routingMode "native" -}}
  {{- fail "routingMode: native is not supported by this version, which has only tunnel" -}}
{{- end -}}
{{- if eq $v.tunnelProtocol "geneve" -}}
  {{- fail "tunnelProtocol: geneve is not supported by this version, which has only vxlan" -}}
{{- end -}}
{{- end -}}

{{/* A pool must have room for at least one node. */}}
{{- define "cilium.validate.pool" -}}
{{- $mask := int .mask -}}
{{- range $cidr := .cidrs -}}
  {{- $prefix := int (last (splitList "/" $cidr)) -}}
  {{- if lt $mask $prefix -}}
    {{- fail (printf "ipam.operator.%s: a node's /%d does not fit into %s" $.maskKey $mask $cidr) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The operator checks all ranges again; what Helm can see is refused before anything changes. */}}
{{/* Sizes of tables; those of connections come together, since there is one table. */}}
{{- define "cilium.validate.sizes" -}}
{{- range $key, $most := dict "ctTcpMax" 16777216 "ctAnyMax" 16777216 "lbMapMax" 1048576 -}}
  {{- $entries := index $ $key -}}
  {{- if not (kindIs "invalid" $entries) -}}
    {{- if or (lt (int64 $entries) 1024) (gt (int64 $entries) (int64 $most)) -}}
      {{- fail (printf "bpf.%s: %d is not possible; use 1024 to %d, or null" $key (int64 $entries) $most) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if ne (kindIs "invalid" .ctTcpMax) (kindIs "invalid" .ctAnyMax) -}}
  {{- fail "bpf.ctTcpMax and bpf.ctAnyMax: set both or none; this version has one table for all connections, as large as both together" -}}
{{- end -}}
{{- end -}}

{{/* All proxies are on the node's network, and so is what else is ours. */}}
{{- define "cilium.validate.ports" -}}
{{- $taken := list 4240 4244 8472 9234 9876 9877 9879 9962 9963 9965 9967 9968 -}}
{{- range $key, $port := dict "envoy.healthPort" .healthPort "envoy.prometheus.port" .prometheus.port -}}
  {{- if has (int $port) $taken -}}
    {{- fail (printf "%s: %d is another's port on the node; take another" $key (int $port)) -}}
  {{- end -}}
{{- end -}}
{{- if eq (int .healthPort) (int .prometheus.port) -}}
  {{- fail (printf "envoy.healthPort and envoy.prometheus.port: both are %d" (int .healthPort)) -}}
{{- end -}}
{{- end -}}

{{- define "cilium.validate" -}}
{{- include "cilium.validate.upstream" . -}}
{{- include "cilium.validate.tunnel" . -}}
{{- $v := .Values -}}
{{- if ne (toString $v.kubeProxyReplacement) "true" -}}
  {{- fail (printf "kubeProxyReplacement: %v is not supported by this version, which always replaces kube-proxy" $v.kubeProxyReplacement) -}}
{{- end -}}
{{- include "cilium.validate.sizes" ($v.bpf | default dict) -}}
{{- $mtu := int $v.MTU -}}
{{- if and (ne $mtu 0) (or (lt $mtu 1280) (gt $mtu 65535)) -}}
  {{- fail (printf "MTU: %d is not possible; use 0 (the node device's) or 1280 to 65535" $mtu) -}}
{{- end -}}
{{- $ipv6 := include "cilium.ipv6" . -}}
{{- if and (not $v.ipv4.enabled) (ne $ipv6 "true") -}}
  {{- fail "ipv4.enabled: false needs ipv6.enabled: true; pods would have no address" -}}
{{- end -}}
{{- if and $v.hubble.relay.tls.server.enabled (not $v.hubble.tls.enabled) -}}
  {{- fail "hubble.relay.tls.server.enabled: true needs hubble.tls.enabled: true" -}}
{{- end -}}
{{- include "cilium.validate.history" $v.hubble.history -}}
{{- include "cilium.validate.metrics" $v.hubble.metrics.enabled -}}
{{- include "cilium.validate.ports" $v.envoy -}}
{{- with $v.hubble.redact.http.headers -}}
  {{- if and .allow .deny -}}
    {{- fail "hubble.redact.http.headers: allow and deny are both set; keep one of them" -}}
  {{- end -}}
{{- end -}}
{{- $pools := $v.ipam.operator -}}
{{- if $v.ipv4.enabled -}}
  {{- if not $pools.clusterPoolIPv4PodCIDRList -}}{{- fail "ipam.operator.clusterPoolIPv4PodCIDRList: needs at least one CIDR while ipv4.enabled is true" -}}{{- end -}}
  {{- include "cilium.validate.pool" (dict "cidrs" $pools.clusterPoolIPv4PodCIDRList "mask" $pools.clusterPoolIPv4MaskSize "maskKey" "clusterPoolIPv4MaskSize") -}}
  {{- include "cilium.validate.overlap" (dict "key" "ipam.operator.clusterPoolIPv4PodCIDRList" "cidrs" $pools.clusterPoolIPv4PodCIDRList) -}}
{{- end -}}
{{- if eq $ipv6 "true" -}}
  {{- if not $pools.clusterPoolIPv6PodCIDRList -}}{{- fail "ipam.operator.clusterPoolIPv6PodCIDRList: needs at least one CIDR while ipv6.enabled is true" -}}{{- end -}}
  {{- include "cilium.validate.pool" (dict "cidrs" $pools.clusterPoolIPv6PodCIDRList "mask" $pools.clusterPoolIPv6MaskSize "maskKey" "clusterPoolIPv6MaskSize") -}}
  {{- include "cilium.validate.overlap" (dict "key" "ipam.operator.clusterPoolIPv6PodCIDRList" "cidrs" $pools.clusterPoolIPv6PodCIDRList) -}}
{{- end -}}
{{- end -}}

{{/* hubble.history: what hubble itself would refuse at its start. */}}
{{- define "cilium.validate.history" -}}
{{- if .enabled -}}
{{- $bytes := include "cilium.bytes" .maxBytes -}}
{{- if not (regexMatch "^[0-9]+(Ki|Mi|Gi|Ti)?$" $bytes) -}}
  {{- fail (printf "hubble.history.maxBytes: %q is not a number of bytes such as 256Mi" $bytes) -}}
{{- end -}}
{{- $number := int64 (regexFind "^[0-9]+" $bytes) -}}
{{- $mebi := index (dict "" (div $number 1048576) "Ki" (div $number 1024) "Mi" $number "Gi" (mul $number 1024) "Ti" (mul $number 1048576)) (regexFind "(Ki|Mi|Gi|Ti)?$" $bytes) -}}
{{- if lt (int64 $mebi) 16 -}}
  {{- fail (printf "hubble.history.maxBytes: %s is too little; 16Mi at least" $bytes) -}}
{{- end -}}
{{- if or (not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$" .maxAge)) (not (regexMatch "[1-9][0-9]*[hm]" .maxAge)) -}}
  {{- fail (printf "hubble.history.maxAge: %q is not a duration of a minute or more, such as 24h or 1h30m" .maxAge) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* hubble.metrics.enabled: names and the names of options; hubble itself checks options' values. */}}
{{- define "cilium.validate.metrics" -}}
{{- $own := dict "dns" (list "query" "ignoreaaaa") "drop" list "flow" list "flows-to-world" (list "any-drop" "port" "syn-only") "http" list "httpV2" list "icmp" list "policy" list "port-distribution" list "tcp" list -}}
{{- $all := list "sourcecontext" "sourceegresscontext" "sourceingresscontext" "destinationcontext" "destinationegresscontext" "destinationingresscontext" "labelscontext" -}}
{{- range . -}}
  {{- $parts := splitn ":" 2 . -}}
  {{- if not (hasKey $own $parts._0) -}}
    {{- fail (printf "hubble.metrics.enabled: %q is not a metric that this version has: %s" $parts._0 (keys $own | sortAlpha | join ", ")) -}}
  {{- end -}}
  {{- range splitList ";" ($parts._1 | default "") -}}
    {{- $option := index (splitList "=" .) 0 -}}
    {{- if and $option (not (has (lower $option) (concat (index $own $parts._0) $all))) -}}
      {{- fail (printf "hubble.metrics.enabled: %s: %q is not an option of it" $parts._0 $option) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
