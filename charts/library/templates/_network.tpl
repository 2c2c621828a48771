{{/* Network policies: all pods of a release are closed both ways, and each component opens what it needs. */}}

{{- define "library.denyAll" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "library.fullname" .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "library.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "library.releaseSelector" .root | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end -}}

{{/* To the cluster's DNS. */}}
{{- define "library.dns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{/* To something outside of the chart: `to` peers, anywhere if there are none; `ports`. Nothing without ports. */}}
{{- define "library.egress" -}}
{{- if .ports -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . | int }}}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* From someone to a named port of ours: `from` peers; `anyone` says what none of them means. */}}
{{- define "library.ingress" -}}
{{- if or .from .anyone -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .from }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
