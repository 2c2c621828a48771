{{/* What server and beat are told of problems, and whether their HTTP can be reached from elsewhere than its own pod. */}}

{{- define "orchestrator.problems.published" -}}
{{- with .Values.problems -}}
{{- if and .enabled (not .loopback) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The secrets of problems, and their HTTP, which only a server has. */}}
{{- define "orchestrator.problems.serverSettings" -}}
{{- with .Values.problems -}}
{{- if .secretKeySecret.name }}
{{ include "library.secretSetting" (dict "name" "ORCHESTRATOR_PROBLEMS_SECRET_KEY" "secret" .secretKeySecret) }}
{{- end }}
{{- if .hfTokenSecret.name }}
{{ include "library.secretSetting" (dict "name" "ORCHESTRATOR_HF_TOKEN" "secret" .hfTokenSecret) }}
{{- end }}
{{- if .enabled }}
{{- if .modelHubTokenSecret.name }}
{{ include "library.secretSetting" (dict "name" "ORCHESTRATOR_PROBLEMS_MODEL_HUB_TOKEN" "secret" .modelHubTokenSecret) }}
{{- end }}
{{- $own := dict
    "problemsAddress" "127.0.0.1:5001"
    "problemsIdentity" "open"
    "problemsOrganization" (required "problems.organization is needed: whose deployment it is" (.organization | default $.Values.api.organization))
    "problemsChannel" (required "problems.channel is needed, in which the deployment lies" (.channel | default $.Values.api.channel))
    "problemsDeployment" .deployment
    "problemsConnections" .connections -}}
{{- if include "orchestrator.problems.published" $ -}}
{{- if and (has "certificate" .identity) (not $.Values.tls.enabled) -}}
{{- fail "problems.identity has certificate, which tls.enabled: false asks nobody for" -}}
{{- end -}}
{{- $own = merge (dict "problemsAddress" "0.0.0.0:5001" "problemsIdentity" (join "," .identity)) $own -}}
{{- end -}}
{{- with .hosts -}}{{- $_ := set $own "problemsHosts" (join "," .) -}}{{- end -}}
{{- with .origins -}}{{- $_ := set $own "problemsOrigins" (join "," .) -}}{{- end -}}
{{- include "library.settings" $own -}}
{{- include "library.settings" .httpSettings -}}
{{- end -}}
{{- end -}}
{{- end -}}
