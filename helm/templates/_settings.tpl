{{/* Variables of a pod, overridden by `settings`: (dict "root" $ "own" "YAML of a list") */}}
{{- define "flows.withSettings" -}}
{{- include "flows.env" (dict "own" .own "given" (include "flows.givenSettings" .root | fromYamlArray)) -}}
{{- end -}}

{{/* `settings`, as variables of a pod. */}}
{{- define "flows.givenSettings" -}}
{{- $entries := list -}}
{{- range $name, $value := .Values.settings -}}
{{- $entries = append $entries (dict "name" $name "value" (include "flows.plain" $value)) -}}
{{- end -}}
{{- toYaml $entries -}}
{{- end -}}

{{/* The prefix of a command in messages, so that it runs in the worker's pod. */}}
{{- define "flows.commandPrefix" -}}
kubectl --namespace {{ .Release.Namespace }} exec -it deploy/{{ include "flows.name" . }}-worker --
{{- end -}}

{{/* Settings that name the release, for job pods, registration and the worker. */}}
{{- define "flows.releaseEnv" -}}
- {name: FLOWS_WORK_POOL, value: {{ include "flows.text" .Values.workPool.name }}}
{{- with include "flows.suffix" . }}
- {name: FLOWS_DEPLOYMENTS_SUFFIX, value: {{ toJson . }}}
{{- end }}
- {name: FLOWS_COMMAND_PREFIX, value: {{ include "flows.commandPrefix" . | toJson }}}
- {name: FLOWS_SWEEP_RELEASE, value: {{ toJson .Release.Name }}}
{{- end -}}

{{/* Settings that job pods and registration share: the environment, and where credentials are. */}}
{{- define "flows.ownSettings" -}}
- {name: FLOWS_ENVIRONMENT, value: {{ toJson .Values.environment }}}
{{ include "flows.releaseEnv" . }}
- {name: FLOWS_AWS_REGION, value: {{ toJson .Values.credentials.region }}}
{{- if .Values.credentials.mounted }}
- {name: FLOWS_SECRETS_FOLDER, value: /var/run/flow-of-flows/secrets}
{{- end }}
{{- range $name, $value := .Values.credentials.names }}
- {name: FLOWS_SECRETS_{{ upper $name }}, value: {{ include "flows.text" $value }}}
{{- end }}
{{- with (.Values.dbt | default dict).secrets }}
- {name: FLOWS_DBT_SECRETS, value: {{ include "flows.dbtSecrets" . | toJson }}}
{{- end }}
{{- with .Values.jobs.retryNodes }}
- {name: FLOWS_RETRY_NODES, value: {{ include "flows.variableTexts" . | toJson }}}
{{- end }}
{{- end -}}

{{/* `dbt.secrets` as JSON, with names as text. */}}
{{- define "flows.dbtSecrets" -}}
{{- $entries := dict -}}
{{- range $name, $entry := . -}}
{{- $written := deepCopy $entry -}}
{{- range $key := list "secret" "field" -}}
{{- if hasKey $entry $key -}}
{{- $_ := set $written $key (get $entry $key | include "flows.plain") -}}
{{- end -}}
{{- end -}}
{{- $_ := set $entries $name $written -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}

{{/* The name of the folder in which `flow_of_flows.secrets` looks for a secret. */}}
{{- define "flows.secretFolder" -}}
{{ regexReplaceAll "[^A-Za-z0-9_.-]" . "-" }}
{{- end -}}

{{/* The name of the volume of a Kubernetes Secret. */}}
{{- define "flows.secretVolume" -}}
{{- $name := include "flows.plain" . -}}
{{- if or (contains "." $name) (gt (len $name) 50) -}}
secret-{{ $name | replace "." "-" | trunc 40 | trimSuffix "-" }}-{{ sha256sum $name | trunc 8 }}
{{- else -}}
secret-{{ $name }}
{{- end -}}
{{- end -}}

{{- define "flows.secretMounts" }}
{{- range $name, $secret := .Values.credentials.mounted }}
- name: {{ include "flows.secretVolume" $secret }}
  mountPath: /var/run/flow-of-flows/secrets/{{ include "flows.secretFolder" $name }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "flows.secretVolumes" }}
{{- range $secret := include "flows.texts" .Values.credentials.mounted | fromJson | values | uniq | sortAlpha }}
- name: {{ include "flows.secretVolume" $secret }}
  secret: {secretName: {{ toJson $secret }}, defaultMode: 288}
{{- end }}
{{- end }}
