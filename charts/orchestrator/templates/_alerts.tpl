{{/*
Alerts on what docs/metrics.md tells. The vitals are the same on every server, so they are taken together by max; the
counts of calls are each server's own.
*/}}
{{- define "orchestrator.alerts" -}}
{{- $job := printf "job=%q, namespace=%q" (printf "%s-server-http" (include "library.fullname" .)) .Release.Namespace -}}
{{- $lease := include "library.seconds" (.Values.settings.lease | default 60) | int -}}
{{- $rule := .Values.metrics.prometheusRule -}}
- name: {{ include "library.fullname" . }}
  rules:
    - alert: OrchestratorDown
      expr: absent(up{ {{- $job -}} } == 1)
      for: 2m
      labels: {severity: critical}
      annotations:
        summary: No server of the orchestrator answers.
    - alert: OrchestratorDatabaseUnreachable
      expr: max(orchestrator_database_reachable{ {{- $job -}} }) == 0
      for: 1m
      labels: {severity: critical}
      annotations:
        summary: No server reaches the database; nothing is registered, claimed or reported.
    - alert: OrchestratorLeasesHeld
      {{- /* More than a third of a lease between two notes does not count as service. */}}
      expr: max(orchestrator_presence_age_seconds{ {{- $job -}} }) > {{ divf $lease 3 }}
      for: 5m
      labels: {severity: critical}
      annotations:
        summary: {{ `No server has noted that it serves for {{ $value | humanizeDuration }}: no lease ends, so lost workers are not noticed.` | quote }}
    {{- range $sweep, $age := $rule.sweepAges }}
    - alert: OrchestratorSweepLate
      expr: max by (sweep) (orchestrator_sweep_age_seconds{ {{- $job }}, sweep={{ printf "sweep.%s" $sweep | quote }}}) > {{ int $age }}
      for: 1m
      labels: {severity: {{ ternary "warning" "critical" (gt (int $age) 3600) }}}
      annotations:
        summary: {{ `The sweep {{ $labels.sweep }} last ran {{ $value | humanizeDuration }} ago: the beat, its broker or its worker is gone.` | quote }}
    {{- end }}
    - alert: OrchestratorNeverSwept
      expr: absent(orchestrator_sweep_age_seconds{ {{- $job }}, sweep="sweep.expired_leases"}) and on() max(orchestrator_database_reachable{ {{- $job -}} }) == 1
      for: 10m
      labels: {severity: critical}
      annotations:
        summary: No sweep has ever run; is there a beat, and does it reach its broker?
    - alert: OrchestratorNodeLost
      expr: max by (channel, organization, node) (orchestrator_node_silent_seconds{ {{- $job -}} } < 86400) > {{ mul 2 $lease }}
      for: 1m
      labels: {severity: warning}
      annotations:
        summary: {{ `Node {{ $labels.node }} of {{ $labels.organization }} was last heard {{ $value | humanizeDuration }} ago; its attempts are lost.` | quote }}
    - alert: OrchestratorQueueUnread
      expr: max by (queue) (orchestrator_queue_unread_seconds{ {{- $job -}} }) > {{ mul 5 $lease }}
      for: 1m
      labels: {severity: warning}
      annotations:
        summary: {{ `No node that reads {{ $labels.queue }} has been heard for {{ $value | humanizeDuration }}; its tasks wait.` | quote }}
    - alert: OrchestratorTasksWait
      expr: max by (queue) (orchestrator_queue_oldest_seconds{ {{- $job -}} }) > {{ int $rule.oldestToDoSeconds }}
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: {{ `A task of {{ $labels.queue }} has been To do for {{ $value | humanizeDuration }}: no node takes it.` | quote }}
    - alert: OrchestratorSchemaLeftBehind
      expr: min by (pod) (orchestrator_schema_serves{ {{- $job -}} }) == 0
      for: 2m
      labels: {severity: critical}
      annotations:
        summary: {{ `The release of {{ $labels.pod }} does not run on the tables of the database any more.` | quote }}
    - alert: OrchestratorSchemaNotContracted
      {{- /* A rolling upgrade leaves it for later; the next release asks for it. */}}
      expr: max(max_over_time(orchestrator_schema_contraction_pending{ {{- $job -}} }[10m])) > 0
      for: {{ $rule.contractionAge }}
      labels: {severity: warning}
      annotations:
        summary: The contracting half of a migration was not applied yet, and the next release needs it.
    - alert: OrchestratorProcessEnds
      expr: max by (pod, process) (increase(orchestrator_process_starts_total{ {{- $job -}} }[1h])) > 2
      for: 1m
      labels: {severity: warning}
      annotations:
        summary: {{ `Server process {{ $labels.process }} of {{ $labels.pod }} has ended again and again in the last hour.` | quote }}
    - alert: OrchestratorCallsFail
      expr: |
        sum(rate(orchestrator_calls_total{ {{- $job }}, code=~"INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED"}[5m]))
          / sum(rate(orchestrator_calls_total{ {{- $job -}} }[5m])) > {{ $rule.failedCallShare }}
      for: 5m
      labels: {severity: critical}
      annotations:
        summary: {{ `{{ $value | humanizePercentage }} of the calls fail by a fault of the orchestrator.` | quote }}
    - alert: OrchestratorCallsRefused
      expr: |
        sum(rate(orchestrator_calls_total{ {{- $job }}, code=~"UNAUTHENTICATED|PERMISSION_DENIED"}[5m]))
          / sum(rate(orchestrator_calls_total{ {{- $job -}} }[5m])) > {{ $rule.refusedCallShare }}
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: {{ `{{ $value | humanizePercentage }} of the calls are refused for who calls: a certificate or an authority is wrong, or somebody tries.` | quote }}
    - alert: OrchestratorCallsOverLimit
      expr: sum by (organization) (rate(orchestrator_calls_refused_total{ {{- $job -}} }[5m])) > 0
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: {{ `Calls of {{ $labels.organization }} are refused since it, or all together, have too many at once: {{ $value | humanize }} a second.` | quote }}
    {{- range $what, $expression := dict
        "The server's certificate" (printf "min(orchestrator_server_certificate_seconds{%s})" $job)
        "The certificate of node {{ $labels.node }} of {{ $labels.organization }}" (printf "min by (organization, node) (orchestrator_node_certificate_seconds{%s})" $job)
        "An authority of {{ $labels.organization }}" (printf "min by (organization) (orchestrator_authority_certificate_seconds{%s})" $job) }}
    - alert: OrchestratorCertificateEnds
      expr: {{ $expression }} < {{ mul $rule.certificateDays 86400 }}
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: {{ printf "%s ends in {{ $value | humanizeDuration }}: then it is refused." $what | quote }}
    {{- end }}
    - alert: OrchestratorRevocationListOld
      expr: min by (organization) (orchestrator_revocation_list_seconds{ {{- $job -}} }) < 0
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: {{ `A revocation list of {{ $labels.organization }} should have been replaced: what was revoked since is not known.` | quote }}
    - alert: OrchestratorStopNotAcknowledged
      {{- /* Each that the sweep repairs is a cancelled attempt whose node was told again. */}}
      expr: |
        max(increase(orchestrator_sweep_repaired_total{ {{- $job }}, sweep="sweep.unacknowledged_stops"}[15m])) > 0
      for: 15m
      labels: {severity: warning}
      annotations:
        summary: A node does not say that a cancelled attempt has ended, although it was told again.
{{- end -}}
