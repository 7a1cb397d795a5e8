{{- define "flows.apiUrl" -}}
{{- if .Values.prefect.cloud.accountId -}}
https://api.prefect.cloud/api/accounts/{{ .Values.prefect.cloud.accountId }}/workspaces/{{ .Values.prefect.cloud.workspaceId }}
{{- else -}}
{{- .Values.prefect.apiUrl | default (printf "http://%s-server.%s.svc:4200/api" (include "flows.name" .) .Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{- define "flows.uiUrl" -}}
{{- if .Values.prefect.uiUrl -}}{{ .Values.prefect.uiUrl }}
{{- else if .Values.prefect.cloud.accountId -}}
https://app.prefect.cloud/account/{{ .Values.prefect.cloud.accountId }}/workspace/{{ .Values.prefect.cloud.workspaceId }}
{{- else if .Values.prefect.apiUrl -}}{{ trimSuffix "/api" .Values.prefect.apiUrl }}
{{- else -}}http://localhost:4200
{{- end -}}
{{- end -}}

{{/* How every pod reaches the API; credentials by reference only. */}}
{{- define "flows.apiEnv" -}}
- name: PREFECT_API_URL
  value: {{ include "flows.apiUrl" . | quote }}
- name: PREFECT_UI_URL
  value: {{ include "flows.uiUrl" . | quote }}
{{- with .Values.prefect.auth.existingSecret }}
- name: PREFECT_API_AUTH_STRING
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.prefect.auth.key }}}}
{{- end }}
{{- with .Values.prefect.apiKey.existingSecret }}
- name: PREFECT_API_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.prefect.apiKey.key }}}}
{{- end }}
{{- end -}}
