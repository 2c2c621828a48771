{{/* HTTP for a host: `service`, the name of its `port` where it is not http, `ingress` of the values. */}}
{{- define "orchestrator.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "library.metadata" (merge (dict "annotations" .ingress.annotations) .) | nindent 2 }}
spec:
  {{- with .ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .ingress.tlsSecretName }}
  tls:
    - secretName: {{ . }}
      hosts: [{{ $.ingress.host | quote }}]
  {{- end }}
  rules:
    - host: {{ .ingress.host | quote }}
      http:
        paths:
          {{- range .ingress.paths }}
          - path: {{ . | quote }}
            pathType: Prefix
            backend:
              service:
                name: {{ $.service }}
                port: {name: {{ $.port | default "http" }}}
          {{- end }}
{{- end -}}
