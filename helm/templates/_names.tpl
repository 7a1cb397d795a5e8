{{- define "flows.name" -}}
{{- printf "%s-flow-of-flows" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The server's Deployment and Service. A Service's name must begin with a letter; a release's need not. */}}
{{- define "flows.serverName" -}}
{{- $name := printf "%s-server" (include "flows.name" .) -}}
{{- if regexMatch "^[0-9]" $name -}}server-{{ include "flows.name" . }}{{- else -}}{{ $name }}{{- end -}}
{{- end -}}

{{/* Labels that select: (dict "root" $ "component" "worker") */}}
{{- define "flows.selector" -}}
{{- if ne .component "job" }}
app.kubernetes.io/name: flow-of-flows
{{- end }}
app.kubernetes.io/instance: {{ include "flows.text" .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "flows.labels" -}}
{{ include "flows.selector" . }}
app.kubernetes.io/part-of: flow-of-flows
app.kubernetes.io/version: {{ include "flows.text" .root.Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* End of every deployment's name. It is empty with the values of an older chart (`--reuse-values`), which lack it. */}}
{{- define "flows.suffix" -}}
{{- get (.Values.deployments | default dict) "suffix" | default "" -}}
{{- end -}}

{{- define "flows.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ include "flows.plain" .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flows.workerAccount" -}}
{{- include "flows.plain" .Values.worker.serviceAccount.name | default (printf "%s-worker" (include "flows.name" .)) -}}
{{- end -}}

{{- define "flows.jobAccount" -}}
{{- include "flows.plain" .Values.jobs.serviceAccount.name | default (printf "%s-job" (include "flows.name" .)) -}}
{{- end -}}

{{/* The claim of the DuckDB files: an existing one, or the chart's own; empty without one. */}}
{{- define "flows.duckdbClaim" -}}
{{- if .Values.warehouse.duckdb.existingClaim -}}
{{- include "flows.plain" .Values.warehouse.duckdb.existingClaim -}}
{{- else if include "flows.ownsDuckdbClaim" . -}}
{{- include "flows.name" . }}-warehouse
{{- end -}}
{{- end -}}

{{/* Whether the chart creates that claim. The values of an older chart (`--reuse-values`) do not have the key. */}}
{{- define "flows.ownsDuckdbClaim" -}}
{{- if dig "persistence" "enabled" false .Values.warehouse.duckdb -}}yes{{- end -}}
{{- end -}}

{{- define "flows.sweeperAccount" -}}
{{ include "flows.name" . }}-sweeper
{{- end -}}

{{/* Job variables by deployment: those of the sweep's pod, overridden by the values. */}}
{{- define "flows.deploymentVariables" -}}
{{- $own := dict -}}
{{- if .Values.sweeper.enabled -}}
{{- $_ := set $own "sweep" (dict "service_account_name" (include "flows.sweeperAccount" .) "automount_service_account_token" true) -}}
{{- end -}}
{{- range $deployment, $variables := .Values.jobs.deployments -}}
{{- $_ := set $own $deployment (mergeOverwrite (get $own $deployment | default dict) (include "flows.variableTexts" $variables | fromJson)) -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{/* Job variables as JSON, with text where a Job needs text. */}}
{{- define "flows.variableTexts" -}}
{{- $variables := dict -}}
{{- range $name, $value := . -}}
{{- if has $name (list "env" "labels" "annotations" "node_selector") -}}
{{- $texts := include "flows.texts" $value | fromJson -}}
{{- range $key, $text := $value -}}
{{- if kindIs "invalid" $text -}}
{{- $_ := set $texts $key nil -}}
{{- end -}}
{{- end -}}
{{- $_ := set $variables $name $texts -}}
{{- else if and (regexMatch "_(request|limit)$" $name) (not (kindIs "invalid" $value)) -}}
{{- $_ := set $variables $name (include "flows.plain" $value) -}}
{{- else -}}
{{- $_ := set $variables $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $variables -}}
{{- end -}}

{{/* Labels by which policies and the uninstall find a flow run's pod. The worker sets `name`, to that of the flow. */}}
{{- define "flows.jobLabels" -}}
{{- $own := dict "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/component" "job" -}}
{{- merge $own (include "flows.texts" .Values.jobs.labels | fromJson) | toYaml -}}
{{- end -}}
