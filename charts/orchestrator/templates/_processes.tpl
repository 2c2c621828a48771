{{/* What server, beat and migrations have in common: the database, and how they wait for it. */}}

{{/* Every process that touches the database. libpq itself reads PGPASSWORD, so that no password has to be encoded. */}}
{{- define "orchestrator.databaseEnv" -}}
{{- with .Values.database -}}
{{- if .urlSecret.name -}}
{{ include "library.secretSetting" (dict "name" "ORCHESTRATOR_DATABASE_URL" "secret" .urlSecret) }}
{{- else -}}
{{- if .passwordSecret.name -}}
{{ include "library.secretSetting" (dict "name" "PGPASSWORD" "secret" .passwordSecret) }}
{{ end -}}
{{- $query := printf "?sslmode=%s" .sslmode -}}
{{- if include "orchestrator.databaseAuthority" $ -}}
{{- $query = printf "%s&sslrootcert=/etc/orchestrator/database/ca.crt" $query -}}
{{- end -}}
{{- $host := required "database.urlSecret.name or database.host is needed" .host -}}
{{ include "library.setting" (dict "name" "database_url" "value" (printf "postgresql://%s@%s:%d/%s%s" .user $host (int .port) .name $query)) }}
{{- end -}}
{{- end }}
{{- include "library.settings" .Values.settings }}
{{- end -}}

{{- define "orchestrator.databaseAuthority" -}}
{{- with .Values.database.authority }}{{ or .secretName .configMapName }}{{ end -}}
{{- end -}}

{{- define "orchestrator.databaseVolume" -}}
{{- if include "orchestrator.databaseAuthority" . }}
- name: database
  {{- include "library.file" (dict "source" .Values.database.authority "path" "ca.crt") | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "orchestrator.databaseMount" -}}
- name: tmp
  mountPath: /tmp
{{- if include "orchestrator.databaseAuthority" . }}
- name: database
  mountPath: /etc/orchestrator/database
  readOnly: true
{{- end }}
{{- end -}}

{{/* A container that changes nothing, and ends when this release can run on the database. */}}
{{- define "orchestrator.awaitDatabase" -}}
- name: await-database
  {{- include "library.container" . | nindent 2 }}
  args: [migrate, --wait]
  env:
    {{- include "orchestrator.databaseEnv" .root | nindent 4 }}
    {{- include "library.extraEnv" . | nindent 4 }}
  {{- include "library.envFrom" . | nindent 2 }}
  resources:
    {{- toYaml .values.resources | nindent 4 }}
  volumeMounts:
    {{- include "orchestrator.databaseMount" .root | nindent 4 }}
{{- with .values.extraInitContainers }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Which broker a process uses: its own, else the server's. */}}
{{- define "orchestrator.brokerUrl" -}}
{{- $own := index .root.Values.broker .of -}}
{{- include "library.brokerUrl" (ternary $own .root.Values.broker.server (or $own.urlSecret.name $own.host | not | not)) -}}
{{- end -}}

{{- define "orchestrator.channelsConfigMap" -}}
{{- .Values.channelsConfigMap.name | default (printf "%s-channels" (include "library.fullname" .)) -}}
{{- end -}}

{{- define "orchestrator.certificateSecret" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.tls.certManager.enabled -}}
{{- include "library.fullname" . }}-server-tls
{{- else -}}
{{- fail "tls.secretName or tls.certManager.enabled is needed; tls.enabled: false serves plain gRPC to whoever reaches it" -}}
{{- end -}}
{{- end -}}

{{/* Where the server is reached inside of the cluster. */}}
{{- define "orchestrator.address" -}}
{{- printf "%s-server.%s.svc:%d" (include "library.fullname" .) .Release.Namespace (int .Values.server.service.port) -}}
{{- end -}}
