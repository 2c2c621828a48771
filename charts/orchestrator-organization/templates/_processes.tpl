{{/* What worker, asset store and the test have in common: who they are, and how they reach the orchestrator. */}}

{{- define "organization.env" -}}
{{- $own := dict
    "organization" (required "organization is needed: its id, as in its certificate's O=" .Values.organization)
    "channels" (join "," (required "channels are needed: those that the organization is in" .Values.channels))
    "address" (required "orchestrator.address is needed: host:port" .Values.orchestrator.address)
    "storeRoot" (.Values.assets.url | default "/var/lib/orchestrator/store") -}}
{{- if .Values.tls.enabled -}}
{{- $own = merge $own (dict
    "clientCaCert" "/etc/orchestrator/server-authority/ca.crt"
    "clientCert" "/etc/orchestrator/client/tls.crt"
    "clientKey" "/etc/orchestrator/client/tls.key") -}}
{{- end -}}
{{- include "library.settings" $own }}
{{- include "library.settings" .Values.settings }}
{{- end -}}

{{- define "organization.storeUrl" -}}
{{- required "store.url is needed: the https URL by which peers reach the asset store" .Values.store.url -}}
{{- end -}}

{{- define "organization.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.tls.enabled }}
- {name: client, mountPath: /etc/orchestrator/client, readOnly: true}
- {name: server-authority, mountPath: /etc/orchestrator/server-authority, readOnly: true}
{{- end }}
{{- if not .Values.assets.url }}
- {name: assets, mountPath: /var/lib/orchestrator/store}
{{- end }}
{{- end -}}

{{- define "organization.volumes" -}}
{{- if .Values.tls.enabled }}
- name: client
  {{- include "library.certificate" (include "organization.secretName" (dict "root" . "of" "client")) | nindent 2 }}
- name: server-authority
  {{- $_ := required "tls.serverAuthority is needed: a secretName or configMapName" (or .Values.tls.serverAuthority.secretName .Values.tls.serverAuthority.configMapName) }}
  {{- include "library.file" (dict "source" .Values.tls.serverAuthority "path" "ca.crt") | nindent 2 }}
{{- end }}
{{- if not .Values.assets.url }}
- name: assets
  persistentVolumeClaim:
    claimName: {{ .Values.assets.volume.existingClaim | default (printf "%s-assets" (include "library.fullname" .)) }}
{{- end }}
{{- end -}}

{{/* The secret with the certificate of: client, store. */}}
{{- define "organization.secretName" -}}
{{- $tls := .root.Values.tls -}}
{{- $given := index $tls (printf "%sSecretName" .of) -}}
{{- if $given -}}
{{- $given -}}
{{- else if $tls.certManager.enabled -}}
{{- printf "%s-%s-tls" (include "library.fullname" .root) .of -}}
{{- else -}}
{{- fail (printf "tls.%sSecretName or tls.certManager.enabled is needed" .of) -}}
{{- end -}}
{{- end -}}

{{/* What a worker is told whose functions run as jobs: where they run, and which volumes they share with it. */}}
{{- define "organization.jobs" -}}
{{- $jobs := .Values.worker.jobs }}
{{- $volumes := list "work-$(ORCHESTRATOR_NODE):/var/lib/orchestrator/working" }}
{{- if not .Values.assets.url }}
{{- $claim := .Values.assets.volume.existingClaim | default (printf "%s-assets" (include "library.fullname" .)) }}
{{- $volumes = append $volumes (printf "%s:/var/lib/orchestrator/store" $claim) }}
{{- end }}
{{- $nodes := list }}
{{- range $name, $value := $jobs.nodeSelector }}
{{- $nodes = append $nodes (printf "%s=%s" $name $value) }}
{{- end }}
{{- if not (has "ReadWriteMany" .Values.worker.workVolume.accessModes) }}
{{- /* The volume of the worker's folders is on its own machine alone. */}}
- name: MACHINE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- $nodes = append $nodes "kubernetes.io/hostname=$(MACHINE_NAME)" }}
{{- end }}
{{- $devices := list }}
{{- range $name, $number := $jobs.devices }}
{{- $devices = append $devices (printf "%s=%d" $name (int $number)) }}
{{- end }}
{{- $deviceNodes := list }}
{{- range $name, $value := $jobs.deviceNodeSelector }}
{{- $deviceNodes = append $deviceNodes (printf "%s=%s" $name $value) }}
{{- end }}
{{- $settings := dict
    "kubernetesVolumes" (join "," $volumes)
    "kubernetesServiceAccount" (include "library.componentName" (dict "root" . "component" "functions")) }}
{{- range $name, $value := dict
    "kubernetesNodeSelector" (join "," $nodes)
    "kubernetesDeviceNodeSelector" (join "," $deviceNodes)
    "kubernetesPullSecrets" (join "," $jobs.pullSecrets)
    "taskDevices" (join "," $devices)
    "functionImage" $jobs.image }}
{{- if $value }}
{{- $_ := set $settings $name $value }}
{{- end }}
{{- end }}
{{- include "library.settings" $settings }}
{{- end -}}
