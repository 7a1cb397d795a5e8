{{/* Rejects values that are no longer text, and names that the chart reserves. */}}

{{/* Names must be text: YAML reads 0123 as 83, 1e3 as 1000 and yes as true. Only --set keeps the digits of a number. */}}
{{- define "flows.checkTexts" -}}
{{- $texts := list "image.tag" "workPool.name" "prefect.auth.existingSecret" "prefect.auth.key" "prefect.apiKey.existingSecret" "prefect.apiKey.key" "server.database.existingSecret" "server.database.key" "server.persistence.existingClaim" "server.persistence.storageClass" "worker.priorityClassName" "worker.serviceAccount.name" "jobs.priorityClassName" "jobs.serviceAccount.name" "warehouse.postgres.host" "warehouse.postgres.user" "warehouse.postgres.database" "warehouse.postgres.existingSecret" "warehouse.postgres.key" "warehouse.duckdb.existingClaim" "mainPipeline" "stateStore.existingClaim" -}}
{{- $maps := list "server.nodeSelector" "server.podAnnotations" "worker.nodeSelector" "worker.podAnnotations" "worker.podLabels" "worker.serviceAccount.annotations" "jobs.nodeSelector" "jobs.annotations" "jobs.labels" "jobs.serviceAccount.annotations" "credentials.names" "credentials.mounted" -}}
{{- range $path := concat $texts $maps -}}
{{- $value := $.Values -}}
{{- range $key := splitList "." $path -}}
{{- $value = get $value $key -}}
{{- end -}}
{{- if has $path $maps -}}
{{- range $key, $text := $value -}}
{{- include "flows.checkText" (dict "at" (printf "%s.%s" $path $key) "value" $text) -}}
{{- end -}}
{{- else -}}
{{- include "flows.checkText" (dict "at" $path "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A release that is upgraded with --reuse-values has no `dbt` in its values. */}}
{{- define "flows.checkDbtSecrets" -}}
{{- range $name, $entry := (.Values.dbt | default dict).secrets -}}
{{- range $key := list "secret" "field" -}}
{{- if hasKey $entry $key -}}
{{- include "flows.checkText" (dict "at" (printf "dbt.secrets.%s.%s" $name $key) "value" (get $entry $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flows.checkText" -}}
{{- if not (or (typeIs "string" .value) (and (kindIs "int64" .value) .value (not .isStrict))) -}}
{{- fail (printf "%s: YAML reads this as the %s %s, so the chart cannot know what was written. Put it in quotes, or use --set-string." .at (ternary "boolean" "number" (kindIs "bool" .value)) (include "flows.plain" .value)) -}}
{{- end -}}
{{- end -}}

{{/* Objects that are copied into pods: Kubernetes requires text in these fields and would reject each Job. */}}
{{- define "flows.checkObjects" -}}
{{- range $path := list "image.pullSecrets" "server.tolerations" "server.affinity" "server.volumes" "server.volumeMounts" "worker.tolerations" "worker.affinity" "worker.topologySpreadConstraints" "jobs.tolerations" "jobs.affinity" "jobs.envFrom" "jobs.volumes" "jobs.volumeMounts" "registration.envFrom" "registration.volumes" "registration.volumeMounts" "networkPolicy.serverFrom" -}}
{{- $value := $.Values -}}
{{- range $key := splitList "." $path -}}
{{- $value = get $value $key -}}
{{- end -}}
{{- include "flows.checkObject" (dict "at" $path "value" $value "isText" false) -}}
{{- end -}}
{{- range $part := list "server" "worker" "jobs" "registration" -}}
{{- range $index, $entry := (get $.Values $part).env -}}
{{- include "flows.checkObject" (dict "at" (printf "%s.env[%d].valueFrom" $part $index) "value" $entry.valueFrom "isText" false) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flows.checkObject" -}}
{{- $parent := . -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $isText := or $parent.isText (has $key (list "key" "value" "values" "operator" "effect" "topologyKey" "matchLabels" "name" "namespace" "secretName" "claimName" "mountPath" "subPath" "path" "volumeAttributes" "labels" "annotations" "prefix" "storageClassName" "driver" "server")) -}}
{{- include "flows.checkObject" (dict "at" (printf "%s.%s" $parent.at $key) "value" $value "isText" $isText) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "flows.checkObject" (dict "at" (printf "%s[%d]" $parent.at $index) "value" $value "isText" $parent.isText) -}}
{{- end -}}
{{- else if and .isText (not (kindIs "invalid" .value)) -}}
{{- include "flows.checkText" (dict "at" .at "value" .value "isStrict" true) -}}
{{- end -}}
{{- end -}}

{{/* Helm stores the numbers of a values file as floats, which lose digits beyond 2^53. */}}
{{- define "flows.checkNumbers" -}}
{{- $at := .at -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- include "flows.checkNumbers" (dict "at" (printf "%s.%s" $at $key) "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "flows.checkNumbers" (dict "at" (printf "%s[%d]" $at $index) "value" $value) -}}
{{- end -}}
{{- else if and (kindIs "float64" .value) (not (typeIs "json.Number" .value)) -}}
{{- if or (gt .value 9007199254740991.0) (lt .value -9007199254740991.0) -}}
{{- fail (printf "%s: Helm cannot keep every digit of a number beyond 9007199254740991. Put it in quotes, or use --set-string." (trimPrefix "." $at)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Lists of variables: each name once, and none that another value sets for several pods. Job pods of another cluster may
need another address of the API. */}}
{{- define "flows.checkVariables" -}}
{{- $kept := dict "FLOWS_WORK_POOL" "workPool.name" "FLOWS_SWEEP_RELEASE" "the name of the release" "FLOWS_REGISTRATION" "registration" "FLOWS_POD_DEADLINE_SECONDS" "jobs.activeDeadlineSeconds, or the job variable active_deadline_seconds" "FLOWS_DEPLOYMENTS_SUFFIX" "deployments.suffix" "PREFECT_API_URL" "prefect.apiUrl" -}}
{{- $given := dict "settings" (include "flows.givenSettings" . | fromYamlArray) -}}
{{- range $part := list "server" "worker" "jobs" "registration" -}}
{{- $_ := set $given (printf "%s.env" $part) (get $.Values $part).env -}}
{{- end -}}
{{- range $where, $entries := $given -}}
{{- $names := list -}}
{{- range $entries -}}
{{- if has .name $names -}}
{{- fail (printf "%s sets %s twice. Keep one of the two." $where .name) -}}
{{- end -}}
{{- if and (hasKey $kept .name) (ne (printf "%s %s" $where .name) "jobs.env PREFECT_API_URL") -}}
{{- fail (printf "%s cannot set %s: several pods have to agree on it. Use %s." $where .name (get $kept .name)) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Volumes by name, mounts by path, mounted credentials by folder: the API rejects a Job with duplicates. */}}
{{- define "flows.checkUnique" -}}
{{- range $part := list "server" "jobs" "registration" -}}
{{- range $list, $by := dict "volumes" "name" "volumeMounts" "mountPath" -}}
{{- $names := list -}}
{{- range get (get $.Values $part) $list | default list -}}
{{- if has (get . $by) $names -}}
{{- fail (printf "%s.%s has %s twice. Keep one of the two." $part $list (get . $by)) -}}
{{- end -}}
{{- $names = append $names (get . $by) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $folders := dict -}}
{{- range $name, $_ := .Values.credentials.mounted -}}
{{- $folder := include "flows.secretFolder" $name | trim -}}
{{- if hasKey $folders $folder -}}
{{- fail (printf "credentials.mounted: %s and %s would be mounted in one folder. Rename one of them, and set its name in credentials.names or settings." (get $folders $folder) $name) -}}
{{- end -}}
{{- $_ := set $folders $folder $name -}}
{{- end -}}
{{- end -}}

{{/* Labels that selectors, policies and the uninstall use. */}}
{{- define "flows.checkLabels" -}}
{{- range $where, $labels := dict "worker.podLabels" .Values.worker.podLabels "jobs.labels" .Values.jobs.labels -}}
{{- range $name := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- if hasKey $labels $name -}}
{{- fail (printf "%s cannot set %s: the chart finds its pods by that label. Use another name." $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
