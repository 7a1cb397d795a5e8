{{- define "flows.name" -}}
{{- printf "%s-flow-of-flows" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select: (dict "root" $ "component" "worker") */}}
{{- define "flows.selector" -}}
{{- if ne .component "job" }}
app.kubernetes.io/name: flow-of-flows
{{- end }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "flows.labels" -}}
{{ include "flows.selector" . }}
app.kubernetes.io/part-of: flow-of-flows
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "flows.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flows.workerAccount" -}}
{{- .Values.worker.serviceAccount.name | default (printf "%s-worker" (include "flows.name" .)) -}}
{{- end -}}

{{- define "flows.jobAccount" -}}
{{- .Values.jobs.serviceAccount.name | default (printf "%s-job" (include "flows.name" .)) -}}
{{- end -}}

{{- define "flows.sweeperAccount" -}}
{{ include "flows.name" . }}-sweeper
{{- end -}}

{{/* Job variables by deployment: what the sweep's pod needs, under what the values say. */}}
{{- define "flows.deploymentVariables" -}}
{{- $own := dict -}}
{{- if .Values.sweeper.enabled -}}
{{- $_ := set $own "sweep" (dict "service_account_name" (include "flows.sweeperAccount" .) "automount_service_account_token" true) -}}
{{- end -}}
{{- mergeOverwrite $own (deepCopy .Values.jobs.deployments) | toJson -}}
{{- end -}}

{{/* What a flow run's pod carries, so that policies and the uninstall find it. Its `name` is the flow's: the worker sets it. */}}
{{- define "flows.jobLabels" -}}
{{- $own := dict "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/component" "job" -}}
{{- merge $own .Values.jobs.labels | toYaml -}}
{{- end -}}
