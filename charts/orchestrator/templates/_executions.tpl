{{/* The files of executions, which servers and beats share, and what both are told of executions. */}}

{{- define "orchestrator.executions.root" -}}
{{- .Values.executions.files.url | default "/var/lib/orchestrator/executions" -}}
{{- end -}}

{{- define "orchestrator.executions.mount" -}}
{{- if and .Values.executions.enabled (not .Values.executions.files.url) }}
- {name: executions, mountPath: /var/lib/orchestrator/executions}
{{- end }}
{{- end -}}

{{- define "orchestrator.executions.volume" -}}
{{- if and .Values.executions.enabled (not .Values.executions.files.url) }}
- name: executions
  persistentVolumeClaim:
    claimName: {{ .Values.executions.files.volume.existingClaim | default (printf "%s-executions" (include "library.fullname" .)) }}
{{- end }}
{{- end -}}

{{/* The organization whose runtimes and central node run executions. */}}
{{- define "orchestrator.executions.organization" -}}
{{- $words := "executions.organization is needed: whose runtimes and central node run executions" -}}
{{- required $words (.Values.executions.organization | default .Values.api.organization) -}}
{{- end -}}

{{/* What the server is told of its HTTP API and of executions, as settings. */}}
{{- define "orchestrator.api.settings" -}}
{{- with .Values.api -}}
{{- if .enabled -}}
{{- $own := dict "apiIdentity" (join "," .identity) "apiAddress" "0.0.0.0:8080" -}}
{{- if and (has "certificate" .identity) (not $.Values.tls.enabled) -}}
{{- fail "api.identity has certificate, which tls.enabled: false asks nobody for" -}}
{{- end -}}
{{- if has "open" .identity -}}
{{- $_ := set $own "apiOrganization" (required "api.organization is needed, for which open callers act" .organization) -}}
{{- $_ := set $own "apiChannel" (required "api.channel is needed, in which open callers act" .channel) -}}
{{- end -}}
{{- include "library.settings" $own -}}
{{- end -}}
{{- end -}}
{{- with .Values.executions -}}
{{- if .enabled -}}
{{- if not $.Values.api.enabled -}}
{{- fail "executions.enabled needs api.enabled: executions are served by the HTTP API" -}}
{{- end -}}
{{- $own := dict
    "mediaRoot" (include "orchestrator.executions.root" $)
    "executionsOrganization" (include "orchestrator.executions.organization" $) -}}
{{- if and $.Values.runtime.enabled (not .settings.executionsRuntime) -}}
{{- $_ := set $own "executionsRuntime" "on" -}}
{{- end -}}
{{- include "library.settings" $own -}}
{{- include "library.settings" .settings -}}
{{- end -}}
{{- end -}}
{{- end -}}
