{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* CIDR arithmetic on addresses as strings of bits: Helm has numbers of 64 bits and no parser. */}}

{{/* Bits of an IPv4 address. What is none fails, naming .key. */}}
{{- define "cilium.bits.ipv4" -}}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- if not (regexMatch (printf "^(%s\\.){3}%s$" $octet $octet) .address) -}}
  {{- fail (printf "%s: %s is not an IPv4 address" .key .address) -}}
{{- end -}}
{{- range splitList "." .address -}}{{- printf "%08b" (atoi .) -}}{{- end -}}
{{- end -}}

{{/* Bits of an IPv6 address. What is none fails, naming .key. */}}
{{- define "cilium.bits.ipv6" -}}
{{- $wrong := printf "%s: %s is not an IPv6 address" .key .address -}}
{{- $text := lower .address -}}
{{- $tail := "" -}}{{/* of ::ffff:10.0.0.1, where two groups are written as IPv4 */}}
{{- if contains "." $text -}}
  {{- $ipv4 := last (splitList ":" $text) -}}
  {{- $tail = include "cilium.bits.ipv4" (dict "key" (printf "%s: %s" .key .address) "address" $ipv4) -}}
  {{- $text = printf "%s0:0" (trimSuffix $ipv4 $text) -}}
{{- end -}}
{{- $halves := splitList "::" $text -}}
{{- $groups := list -}}{{- $after := list -}}
{{- range $half := $halves -}}
  {{- if not (regexMatch "^$|^[0-9a-f]{1,4}(:[0-9a-f]{1,4})*$" $half) -}}{{- fail $wrong -}}{{- end -}}
{{- end -}}
{{- if first $halves -}}{{- $groups = splitList ":" (first $halves) -}}{{- end -}}
{{- if gt (len $halves) 1 -}}
  {{- if last $halves -}}{{- $after = splitList ":" (last $halves) -}}{{- end -}}
  {{- $missing := sub 8 (add (len $groups) (len $after)) | int -}}
  {{- if or (gt (len $halves) 2) (lt $missing 1) -}}{{- fail $wrong -}}{{- end -}}
  {{- range until $missing -}}{{- $groups = append $groups "0" -}}{{- end -}}
  {{- $groups = concat $groups $after -}}
{{- end -}}
{{- if ne (len $groups) 8 -}}{{- fail $wrong -}}{{- end -}}
{{- $nibbles := dict -}}
{{- range $i := until 16 -}}{{- $_ := set $nibbles (printf "%x" $i) (printf "%04b" $i) -}}{{- end -}}
{{- $bits := "" -}}
{{- range $group := $groups -}}
  {{- range $digit := splitList "" (printf "%4s" $group | replace " " "0") -}}
    {{- $bits = printf "%s%s" $bits (get $nibbles $digit) -}}
  {{- end -}}
{{- end -}}
{{- if $tail -}}{{- $bits = printf "%s%s" (substr 0 96 $bits) $tail -}}{{- end -}}
{{- $bits -}}
{{- end -}}

{{/* The bits of a CIDR that its prefix length keeps; all others must be zero. */}}
{{- define "cilium.bits.network" -}}
{{- $parts := splitList "/" .cidr -}}
{{- $prefix := int (last $parts) -}}
{{- $family := ternary "ipv6" "ipv4" (contains ":" .cidr) -}}
{{- $bits := include (printf "cilium.bits.%s" $family) (dict "key" .key "address" (first $parts)) -}}
{{- if contains "1" (substr $prefix -1 $bits) -}}
  {{- fail (printf "%s: %s has bits set after its first %d" .key .cidr $prefix) -}}
{{- end -}}
{{- substr 0 $prefix $bits -}}
{{- end -}}

{{/* Fails when two of .cidrs, all of one family, share an address: one is then the other's beginning. */}}
{{- define "cilium.validate.overlap" -}}
{{- $seen := list -}}
{{- range $cidr := .cidrs -}}
  {{- $bits := include "cilium.bits.network" (dict "key" $.key "cidr" $cidr) -}}
  {{- range $other := $seen -}}
    {{- if or (hasPrefix $bits $other.bits) (hasPrefix $other.bits $bits) -}}
      {{- fail (printf "%s: %s and %s overlap" $.key $other.cidr $cidr) -}}
    {{- end -}}
  {{- end -}}
  {{- $seen = append $seen (dict "cidr" $cidr "bits" $bits) -}}
{{- end -}}
{{- end -}}
