{{/* From values to the environment of a process: the one place where the names of settings are made. */}}

{{/*
A map of settings, `taskTimeLimit: 60`, as `ORCHESTRATOR_TASK_TIME_LIMIT`. The schema of the values says which there are,
a test that they are those of the settings classes. Numbers are written in full: YAML's large ones would come as 1e+10.
*/}}
{{- define "library.settings" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ include "library.setting" (dict "name" (snakecase $name) "value" $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "library.setting" -}}
- name: ORCHESTRATOR_{{ upper .name }}
  value: {{ include "library.text" .value | quote }}
{{- end -}}

{{- define "library.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* A setting whose value a secret holds: `name`, `secret` {name, key}. */}}
{{- define "library.secretSetting" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
{{- end -}}

{{/*
ORCHESTRATOR_BROKER_URL: the whole URL from a secret, or its parts with the password alone from one. The kubelet puts the
password into the URL, as it is: in a URL, it must be percent-encoded.
*/}}
{{- define "library.brokerUrl" -}}
{{- if .urlSecret.name -}}
{{ include "library.secretSetting" (dict "name" "ORCHESTRATOR_BROKER_URL" "secret" .urlSecret) }}
{{- else if .host -}}
{{- $credentials := "" -}}
{{- if .passwordSecret.name -}}
{{- $credentials = printf "%s:$(BROKER_PASSWORD)@" .user -}}
{{ include "library.secretSetting" (dict "name" "BROKER_PASSWORD" "secret" .passwordSecret) }}
{{ end -}}
{{ include "library.setting" (dict "name" "broker_url" "value" (printf "%s://%s%s:%v/%s" .scheme $credentials .host (int .port) .path)) }}
{{- end -}}
{{- end -}}

{{/* The seconds of a duration as the settings have it, `1m30s` or a number, rounded up. */}}
{{- define "library.seconds" -}}
{{- $text := include "library.text" . -}}
{{- if regexMatch "^[0-9.]+$" $text -}}
{{- ceil (float64 $text) -}}
{{- else -}}
{{- $units := dict "us" 0.000001 "µs" 0.000001 "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(us|µs|ms|s|m|h|d)" $text -1 -}}
{{- $unit := regexFind "[^0-9.]+" . -}}
{{- $sum = addf $sum (mulf (float64 (trimSuffix $unit .)) (get $units $unit)) -}}
{{- end -}}
{{- ceil $sum -}}
{{- end -}}
{{- end -}}
