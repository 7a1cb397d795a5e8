{{/* Fails if a Secret or claim that the values name does not exist: pods would wait until helm gives up, without a reason.
It needs a cluster, which `helm template` does not have; the ConfigMap of every namespace shows whether there is one. */}}
{{- define "flows.references" -}}
{{- if lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt" -}}
{{- range (include "flows.secretReferences" . | fromYamlArray) -}}
{{- $secret := lookup "v1" "Secret" $.Release.Namespace .name -}}
{{- if not $secret -}}
{{- fail (printf "%s: there is no Secret %s in namespace %s. Create it first: kubectl --namespace %s create secret generic %s --from-file=%s" .where .name $.Release.Namespace $.Release.Namespace .name (.key | default "<key>")) -}}
{{- end -}}
{{- if and .key (not (hasKey ($secret.data | default dict) .key)) -}}
{{- fail (printf "%s: the Secret %s has no key %s. It has: %s." .where .name .key (keys ($secret.data | default dict) | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- end -}}
{{- $claims := dict "warehouse.duckdb.existingClaim" .Values.warehouse.duckdb.existingClaim "stateStore.existingClaim" .Values.stateStore.existingClaim "server.persistence.existingClaim" .Values.server.persistence.existingClaim -}}
{{- range $where, $value := $claims -}}
{{- $claim := include "flows.plain" $value -}}
{{- if and $claim (not (lookup "v1" "PersistentVolumeClaim" $.Release.Namespace $claim)) -}}
{{- fail (printf "%s: there is no PersistentVolumeClaim %s in namespace %s. Create it first, or leave the value empty." $where $claim $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Each Secret that a value names: path of the value, name of the Secret, and its key if there is one. */}}
{{- define "flows.secretReferences" -}}
{{- $found := list -}}
{{- $named := dict "prefect.auth" .Values.prefect.auth "prefect.apiKey" .Values.prefect.apiKey "server.database" .Values.server.database -}}
{{- if include "flows.usesPostgres" . -}}
{{- $_ := set $named "warehouse.postgres" .Values.warehouse.postgres -}}
{{- end -}}
{{- range $where, $value := $named -}}
{{- if $value.existingSecret -}}
{{- $found = append $found (dict "where" (printf "%s.existingSecret" $where) "name" (include "flows.plain" $value.existingSecret) "key" (include "flows.plain" $value.key)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $secret := .Values.credentials.mounted -}}
{{- $found = append $found (dict "where" (printf "credentials.mounted %s" $name) "name" (include "flows.plain" $secret) "key" "") -}}
{{- end -}}
{{- range $part := list "jobs" "worker" "server" "registration" -}}
{{- $values := index $.Values $part -}}
{{- range $values.env -}}
{{- $reference := dig "valueFrom" "secretKeyRef" dict . -}}
{{- if and $reference (not $reference.optional) -}}
{{- $found = append $found (dict "where" (printf "%s.env %s" $part .name) "name" $reference.name "key" $reference.key) -}}
{{- end -}}
{{- end -}}
{{- range $values.envFrom -}}
{{- with .secretRef -}}
{{- if not .optional -}}
{{- $found = append $found (dict "where" (printf "%s.envFrom" $part) "name" .name "key" "") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found | toYaml -}}
{{- end -}}

{{/* Whether job pods have the Postgres of the values: for the target of that name, and for one of another name with a host. */}}
{{- define "flows.usesPostgres" -}}
{{- $target := .Values.warehouse.target -}}
{{- if or (eq $target "postgres") (and .Values.warehouse.postgres.host (not (has $target (list "" "duckdb" "snowflake")))) -}}yes{{- end -}}
{{- end -}}
