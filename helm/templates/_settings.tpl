{{/* Settings that job pods and registration share: what the release is, and where credentials are. */}}
{{- define "flows.settingsEnv" -}}
- {name: FLOWS_ENVIRONMENT, value: {{ .Values.environment }}}
- {name: FLOWS_WORK_POOL, value: {{ .Values.workPool.name }}}
{{- with .Values.deployments.suffix }}
- {name: FLOWS_DEPLOYMENTS_SUFFIX, value: {{ . | quote }}}
{{- end }}
- {name: FLOWS_SWEEP_RELEASE, value: {{ .Release.Name }}}
- {name: FLOWS_SECRETS_REGION, value: {{ .Values.credentials.region }}}
{{- if .Values.credentials.mounted }}
- {name: FLOWS_SECRETS_FOLDER, value: /var/run/flow-of-flows/secrets}
{{- end }}
{{- range $name, $value := .Values.credentials.names }}
- {name: FLOWS_SECRETS_{{ upper $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .Values.jobs.retryNodes }}
- {name: FLOWS_RETRY_NODES, value: {{ toJson . | quote }}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* The name of the folder that `flows.credentials` looks into for a secret. */}}
{{- define "flows.secretFolder" -}}
{{ regexReplaceAll "[^A-Za-z0-9_.-]" . "-" }}
{{- end -}}

{{/* The name of the volume of a Kubernetes Secret. */}}
{{- define "flows.secretVolume" -}}
secret-{{ . | replace "." "-" | trunc 50 | trimSuffix "-" }}
{{- end -}}

{{- define "flows.secretMounts" }}
{{- range $name, $secret := .Values.credentials.mounted }}
- name: {{ include "flows.secretVolume" $secret }}
  mountPath: /var/run/flow-of-flows/secrets/{{ include "flows.secretFolder" $name }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "flows.secretVolumes" }}
{{- range $secret := values .Values.credentials.mounted | uniq | sortAlpha }}
- name: {{ include "flows.secretVolume" $secret }}
  secret: {secretName: {{ $secret }}, defaultMode: 288}
{{- end }}
{{- end }}
