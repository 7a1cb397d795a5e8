{{- define "flows.apiUrl" -}}
{{- if .Values.prefect.cloud.accountId -}}
https://api.prefect.cloud/api/accounts/{{ .Values.prefect.cloud.accountId }}/workspaces/{{ .Values.prefect.cloud.workspaceId }}
{{- else -}}
{{- include "flows.givenApiUrl" . | default (printf "http://%s.%s.svc:4200/api" (include "flows.serverName" .) .Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{/* prefect.apiUrl without the slashes at its end, which people copy from a browser. */}}
{{- define "flows.givenApiUrl" -}}
{{- regexReplaceAll "/+$" .Values.prefect.apiUrl "" -}}
{{- end -}}

{{- define "flows.uiUrl" -}}
{{- if .Values.prefect.uiUrl -}}{{ regexReplaceAll "/+$" .Values.prefect.uiUrl "" }}
{{- else if .Values.prefect.cloud.accountId -}}
https://app.prefect.cloud/account/{{ .Values.prefect.cloud.accountId }}/workspace/{{ .Values.prefect.cloud.workspaceId }}
{{- else if .Values.prefect.apiUrl -}}{{ include "flows.givenApiUrl" . | trimSuffix "/api" }}
{{- else -}}http://localhost:4200
{{- end -}}
{{- end -}}

{{/* How every pod connects to the API; credentials only by reference. */}}
{{- define "flows.apiEnv" -}}
- name: PREFECT_API_URL
  value: {{ include "flows.apiUrl" . | toJson }}
- name: PREFECT_UI_URL
  value: {{ include "flows.uiUrl" . | toJson }}
# A server whose database is busy, or away, answers 500, which Prefect's client would take for an answer: it made of a
# run that began just then a crashed one (measured). Seven tries take two minutes.
- {name: PREFECT_CLIENT_RETRY_EXTRA_CODES, value: "500"}
- {name: PREFECT_CLIENT_MAX_RETRIES, value: "6"}
{{- with .Values.prefect.auth.existingSecret }}
- name: PREFECT_API_AUTH_STRING
  valueFrom: {secretKeyRef: {name: {{ include "flows.text" . }}, key: {{ include "flows.text" $.Values.prefect.auth.key }}}}
{{- end }}
{{- with .Values.prefect.apiKey.existingSecret }}
- name: PREFECT_API_KEY
  valueFrom: {secretKeyRef: {name: {{ include "flows.text" . }}, key: {{ include "flows.text" $.Values.prefect.apiKey.key }}}}
{{- end }}
{{- end -}}
