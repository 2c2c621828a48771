{{/* Where TLS comes in and is passed through as it is: a service, and a route of a Gateway. */}}

{{/* `port` is the name of the container's; `clear` says that there is no TLS. */}}
{{- define "library.passThroughService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "library.metadata" (merge (dict "annotations" .values.service.annotations) .) | nindent 2 }}
spec:
  {{- with .values.service }}
  type: {{ .type }}
  {{- with .loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with .loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .externalTrafficPolicy }}
  externalTrafficPolicy: {{ . }}
  {{- end }}
  {{- end }}
  ports:
    - name: {{ .port }}
      port: {{ .values.service.port }}
      targetPort: {{ .port }}
      {{- if .clear }}
      appProtocol: kubernetes.io/h2c
      {{- end }}
  selector:
    {{- include "library.selector" . | nindent 4 }}
{{- end -}}

{{- define "library.tlsRoute" -}}
{{- $version := "gateway.networking.k8s.io/v1alpha2" -}}
{{- range list "v1alpha3" "v1" -}}
{{- $newer := printf "gateway.networking.k8s.io/%s" . -}}
{{- if $.root.Capabilities.APIVersions.Has (printf "%s/TLSRoute" $newer) -}}
{{- $version = $newer -}}
{{- end -}}
{{- end -}}
apiVersion: {{ .values.tlsRoute.apiVersion | default $version }}
kind: TLSRoute
metadata:
  {{- include "library.metadata" . | nindent 2 }}
spec:
  parentRefs:
    {{- toYaml .values.tlsRoute.parentRefs | nindent 4 }}
  hostnames:
    {{- toYaml .values.tlsRoute.hostnames | nindent 4 }}
  rules:
    - backendRefs:
        - name: {{ include "library.componentName" . }}{{ with .suffix }}-{{ . }}{{ end }}
          port: {{ .values.service.port }}
{{- end -}}
