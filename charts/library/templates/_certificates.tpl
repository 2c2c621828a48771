{{/* Certificates and other files that are read again when they change: volumes that the kubelet renews, never the
environment; nothing is mounted by subPath. */}}

{{/* A folder per organization with its authority's certificates, and its revocation lists where there are any:
`authorities` is organization -> {secretName or configMapName, key, revocationsKey}. */}}
{{- define "library.authorities" -}}
projected:
  defaultMode: 0440
  sources:
    {{- range $organization, $source := .authorities }}
    {{- if $source.secretName }}
    - secret:
        name: {{ $source.secretName }}
    {{- else }}
    - configMap:
        name: {{ required (printf "authorities of %s need a secretName or a configMapName" $organization) $source.configMapName }}
    {{- end }}
        items:
          - key: {{ $source.key | default "ca.crt" }}
            path: {{ printf "%s/ca.crt" $organization | quote }}
          {{- with $source.revocationsKey }}
          - key: {{ . }}
            path: {{ printf "%s/ca.crl" $organization | quote }}
          {{- end }}
    {{- end }}
{{- end -}}

{{/* One file: the `path` that it has in its volume, and `source`, the secret or the config map that holds it. */}}
{{- define "library.file" -}}
projected:
  defaultMode: 0440
  sources:
    {{- if .source.secretName }}
    - secret:
        name: {{ .source.secretName }}
    {{- else }}
    - configMap:
        name: {{ required (printf "%s needs a secretName or a configMapName" .path) .source.configMapName }}
    {{- end }}
        items:
          - key: {{ .source.key | default .path }}
            path: {{ .path }}
{{- end -}}

{{/* The list of what is denied although it was issued, where there is one. */}}
{{- define "library.denies" -}}
{{- with .Values.tls.denyList }}{{ or .secretName .configMapName }}{{ end -}}
{{- end -}}

{{- define "library.deniedMount" -}}
{{- if include "library.denies" . }}
- {name: denied, mountPath: /etc/orchestrator/denied, readOnly: true}
{{- end }}
{{- end -}}

{{- define "library.deniedVolume" -}}
{{- if include "library.denies" . }}
- name: denied
  {{- include "library.file" (dict "source" .Values.tls.denyList "path" "deny.yaml") | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A certificate and its key, tls.crt and tls.key. */}}
{{- define "library.certificate" -}}
secret:
  secretName: {{ . }}
  defaultMode: 0440
  items:
    - key: tls.crt
      path: tls.crt
    - key: tls.key
      path: tls.key
{{- end -}}

{{/* A Certificate of cert-manager: `values` {issuerRef, duration, renewBefore}, `secretName`, `organization` for O=,
`commonName`, `dnsNames`, `usages`. */}}
{{- define "library.certManagerCertificate" -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "library.metadata" . | nindent 2 }}
spec:
  secretName: {{ .secretName }}
  commonName: {{ .commonName | trunc 64 | quote }}
  subject:
    organizations:
      - {{ .organization | quote }}
  {{- with .dnsNames }}
  dnsNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  usages:
    - digital signature
    {{- range .usages }}
    - {{ . }}
    {{- end }}
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  duration: {{ .certManager.duration }}
  renewBefore: {{ .certManager.renewBefore }}
  issuerRef:
    {{- toYaml .certManager.issuerRef | nindent 4 }}
{{- end -}}
