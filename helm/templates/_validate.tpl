{{/* Rejects combinations that a schema cannot express. Each message says what is wrong and what to do. */}}
{{- define "flows.validate" -}}
{{- include "flows.checkTexts" . -}}
{{- include "flows.checkDbtSecrets" . -}}
{{- include "flows.checkObjects" . -}}
{{- include "flows.checkNumbers" (dict "at" "" "value" .Values) -}}
{{- include "flows.checkVariables" . -}}
{{- include "flows.checkUnique" . -}}
{{- include "flows.checkLabels" . -}}
{{- $outside := or .Values.prefect.apiUrl .Values.prefect.cloud.accountId -}}
{{- if and .Values.server.enabled $outside -}}
{{- fail "server.enabled is true, and prefect.apiUrl or prefect.cloud names another API. Set server.enabled=false to use that one." -}}
{{- end -}}
{{- if not (or .Values.server.enabled $outside) -}}
{{- fail "There is no Prefect API: server.enabled is false. Set prefect.apiUrl, or prefect.cloud, or server.enabled=true." -}}
{{- end -}}
{{- if and .Values.prefect.apiUrl .Values.prefect.cloud.accountId -}}
{{- fail "prefect.apiUrl and prefect.cloud name two APIs. Set one of them." -}}
{{- end -}}
{{- if ne (empty .Values.prefect.cloud.accountId) (empty .Values.prefect.cloud.workspaceId) -}}
{{- fail "prefect.cloud needs accountId and workspaceId. Copy both from the address of the workspace." -}}
{{- end -}}
{{- if and .Values.prefect.cloud.accountId (not .Values.prefect.apiKey.existingSecret) -}}
{{- fail "Prefect Cloud needs an API key. Put it into a Secret, and set prefect.apiKey.existingSecret to its name." -}}
{{- end -}}
{{- if contains "@" .Values.prefect.apiUrl -}}
{{- fail "prefect.apiUrl must not carry credentials. Put \"user:password\" into a Secret, and set prefect.auth.existingSecret to its name." -}}
{{- end -}}
{{- if and .Values.prefect.apiUrl (contains "api.prefect.cloud/" .Values.prefect.apiUrl) -}}
{{- fail "prefect.apiUrl is a workspace of Prefect Cloud. Set prefect.cloud.accountId and prefect.cloud.workspaceId instead; both are in that address." -}}
{{- end -}}
{{- if and .Values.prefect.apiUrl (not (hasSuffix "/api" (include "flows.givenApiUrl" .))) -}}
{{- fail (printf "prefect.apiUrl is %s, and a Prefect API's address ends in /api. Set it to %s/api if that is where the server answers." .Values.prefect.apiUrl (include "flows.givenApiUrl" .)) -}}
{{- end -}}
{{- if and .Values.server.database.existingSecret .Values.server.persistence.enabled -}}
{{- fail "server.database and server.persistence are two places for the server's runs. Set server.persistence.enabled=false to use Postgres." -}}
{{- end -}}
{{- range $part := list "worker" "jobs" -}}
{{- $account := (index $.Values $part).serviceAccount -}}
{{- if and $account.annotations (not $account.create) -}}
{{- fail (printf "%s.serviceAccount.annotations reach no object: create is false. Annotate that account yourself, or set create=true." $part) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.server.persistence.existingClaim (not .Values.server.persistence.enabled) -}}
{{- fail "server.persistence.existingClaim is set, and server.persistence.enabled is false. Set it to true." -}}
{{- end -}}
{{- if and .Values.server.database.existingSecret (not .Values.server.enabled) -}}
{{- fail "server.database is set, and server.enabled is false. Remove it, or set server.enabled=true." -}}
{{- end -}}
{{- if include "flows.usesPostgres" . -}}
{{- range $key := list "host" "user" "database" "existingSecret" -}}
{{- if not (index $.Values.warehouse.postgres $key) -}}
{{- fail (printf "warehouse.target is %s, and warehouse.postgres.%s is empty. Set it." $.Values.warehouse.target $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if include "flows.ownsDuckdbClaim" . -}}
{{- if .Values.warehouse.duckdb.existingClaim -}}
{{- fail "warehouse.duckdb.existingClaim and warehouse.duckdb.persistence are two places for the DuckDB files. Set persistence.enabled=false to use the existing claim." -}}
{{- end -}}
{{- if and (gt (int .Values.worker.replicas) 1) (eq .Values.warehouse.duckdb.persistence.accessMode "ReadWriteOnce") -}}
{{- fail (printf "worker.replicas is %d, and a claim that is ReadWriteOnce is for the pods of one node. Set warehouse.duckdb.persistence.accessMode=ReadWriteMany, or worker.replicas=1." (int .Values.worker.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.stateStore.s3 .Values.stateStore.existingClaim -}}
{{- fail "stateStore.s3 and stateStore.existingClaim are two places for dbt's state. Set one of them." -}}
{{- end -}}
{{- range $name := list "concurrencyLimits" "blocks" "automations" -}}
{{- if get $.Values.registration $name -}}
{{- fail (printf "registration.%s is not supported any more: registration creates only what the release itself needs. Remove the value, and create them with Prefect's CLI or its Terraform provider." $name) -}}
{{- end -}}
{{- end -}}
{{- $known := include "flows.jobVariableNames" . | fromJsonArray -}}
{{- $given := merge (dict "jobs.pipelines" .Values.jobs.pipelines "jobs.children" .Values.jobs.children "jobs.retryNodes" .Values.jobs.retryNodes) dict -}}
{{- range $name, $variables := .Values.jobs.deployments -}}
{{- $_ := set $given (printf "jobs.deployments.%s" $name) $variables -}}
{{- end -}}
{{- range $where, $variables := $given -}}
{{- range $variable, $_ := $variables -}}
{{- if not (has $variable $known) -}}
{{- fail (printf "%s: there is no job variable %s. There are %s." $where $variable (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "flows.references" . -}}
{{- end -}}
