{{/* What every pod and container of both charts has: restricted, without a token, spread. */}}

{{- define "library.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The fields of a container that are everywhere the same; `values` are the component's. */}}
{{- define "library.container" -}}
image: {{ include "library.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- $restricted := dict
      "allowPrivilegeEscalation" false
      "capabilities" (dict "drop" (list "ALL"))
      "privileged" false
      "readOnlyRootFilesystem" true
      "runAsGroup" 10001
      "runAsNonRoot" true
      "runAsUser" 10001
      "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- toYaml (mergeOverwrite $restricted (deepCopy (.values.containerSecurityContext | default dict))) | nindent 2 }}
{{- end -}}

{{/* `env`, `envFrom` and the rest that an operator may add to the main container of a component. */}}
{{- define "library.extraEnv" -}}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "library.envFrom" -}}
{{- with .values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The labels and annotations of a pod; `checksum` restarts it when what is read once has changed. */}}
{{- define "library.podMetadata" -}}
labels:
  {{- include "library.labels" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := deepCopy (.values.podAnnotations | default dict) }}
{{- with .checksum }}
{{- $_ := set $annotations "checksum/config" . }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The fields of a pod that are everywhere the same. */}}
{{- define "library.pod" -}}
serviceAccountName: {{ .serviceAccount | default (include "library.fullname" .root) }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- $restricted := dict
      "fsGroup" 10001
      "fsGroupChangePolicy" "OnRootMismatch"
      "runAsNonRoot" true
      "runAsUser" 10001
      "runAsGroup" 10001
      "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- toYaml (mergeOverwrite $restricted (deepCopy (.values.podSecurityContext | default dict))) | nindent 2 }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.spread }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "library.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A claim for a volume that several pods share: `volume` {size, accessModes, storageClassName, annotations}. */}}
{{- define "library.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "library.metadata" (merge (dict "annotations" .volume.annotations) .) | nindent 2 }}
spec:
  accessModes:
    {{- toYaml .volume.accessModes | nindent 4 }}
  {{- with .volume.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .volume.size }}
{{- end -}}

{{/* Where a process may write: nothing but this, and what is mounted. */}}
{{- define "library.temporary" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .values.temporarySize | default "1Gi" }}
{{- end -}}

{{- define "library.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "library.fullname" .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "library.labels" . | nindent 4 }}
  {{- with merge dict (.root.Values.serviceAccount.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{- define "library.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "library.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .values.disruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "library.selector" . | nindent 6 }}
{{- end -}}

{{/* Objects that an operator adds; they may use templates. */}}
{{- define "library.extraObjects" -}}
{{- range .Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $ }}
{{- end }}
{{- end -}}

{{/* Where a process that serves nobody says how it is, and who asks; see docs/operate/health.md. */}}
{{- define "library.healthSetting" -}}
{{ include "library.setting" (dict "name" "health_address" "value" "0.0.0.0:8485") }}
{{- end -}}

{{- define "library.healthProbes" -}}
startupProbe:
  httpGet: {path: /health, port: health}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /ready, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
{{- /* Not /ready: a broker or an orchestrator that is away is no reason to restart. */}}
livenessProbe:
  httpGet: {path: /health, port: health}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
