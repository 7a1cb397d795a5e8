{{/* The base job template of the work pool. Prefect, not Helm, fills in what is in double braces. */}}
{{- define "flows.jobTemplate" -}}
job_configuration:
  command: "{{ `{{ command }}` }}"
  env: "{{ `{{ env }}` }}"
  labels: "{{ `{{ labels }}` }}"
  annotations: "{{ `{{ annotations }}` }}"
  name: "{{ `{{ name }}` }}"
  namespace: "{{ `{{ namespace }}` }}"
  cluster_config: "{{ `{{ cluster_config }}` }}"
  stream_output: false
  job_manifest:
    apiVersion: batch/v1
    kind: Job
    metadata:
      generateName: "{{ `{{ name }}` }}-"
      namespace: "{{ `{{ namespace }}` }}"
      labels:
        {{- include "flows.jobLabels" . | nindent 8 }}
      annotations: "{{ `{{ annotations }}` }}"
    spec:
      backoffLimit: "{{ `{{ backoff_limit }}` }}"
      # Closes the window in which a deleted pod counts as failed before it has rescheduled its run (measured).
      podReplacementPolicy: Failed
      ttlSecondsAfterFinished: "{{ `{{ finished_job_ttl }}` }}"
      activeDeadlineSeconds: "{{ `{{ active_deadline_seconds }}` }}"
      template:
        metadata:
          labels:
            {{- include "flows.jobLabels" . | nindent 12 }}
        spec:
          {{- include "flows.jobPod" . | nindent 10 }}
variables:
  {{- include "flows.jobVariables" . | nindent 2 }}
{{- end -}}

{{- define "flows.jobPod" -}}
# The worker's own validation insists on these two here.
completions: 1
parallelism: 1
restartPolicy: Never
{{ include "flows.podStart" (dict "root" . "account" "{{ service_account_name }}" "token" "{{ automount_service_account_token }}") }}
terminationGracePeriodSeconds: "{{ `{{ termination_grace_period_seconds }}` }}"
nodeSelector: "{{ `{{ node_selector }}` }}"
tolerations: "{{ `{{ tolerations }}` }}"
affinity: "{{ `{{ affinity }}` }}"
priorityClassName: "{{ `{{ priority_class_name }}` }}"
containers:
  - name: prefect-job
    image: "{{ `{{ image }}` }}"
    imagePullPolicy: "{{ `{{ image_pull_policy }}` }}"
    args: "{{ `{{ command }}` }}"
    env:
      {{- include "flows.jobEnv" . | nindent 6 }}
    {{- with .Values.jobs.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- include "flows.jobResources" . | nindent 6 }}
    securityContext:
      {{- include "flows.containerSecurity" . | nindent 6 }}
    volumeMounts:
      {{- include "flows.merged" (dict "own" (include "flows.jobMounts" .) "given" .Values.jobs.volumeMounts "by" "mountPath") | nindent 6 }}
volumes:
  {{- include "flows.merged" (dict "own" (include "flows.jobVolumes" .) "given" .Values.jobs.volumes) | nindent 2 }}
{{- end -}}

{{- define "flows.jobMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "flows.duckdbClaim" . }}
- {name: warehouse, mountPath: /var/lib/flow-of-flows}
{{- end }}
{{- if .Values.stateStore.existingClaim }}
- {name: state, mountPath: /var/lib/flow-of-flows-state}
{{- end }}
{{- include "flows.secretMounts" . }}
{{- end -}}

{{- define "flows.jobVolumes" -}}
- {name: tmp, emptyDir: {sizeLimit: "{{ `{{ tmp_size_limit }}` }}"}}
{{- with include "flows.duckdbClaim" . }}
- {name: warehouse, persistentVolumeClaim: {claimName: {{ toJson . }}}}
{{- end }}
{{- with .Values.stateStore.existingClaim }}
- {name: state, persistentVolumeClaim: {claimName: {{ include "flows.text" . }}}}
{{- end }}
{{- include "flows.secretVolumes" . }}
{{- end -}}

{{/* Requests and limits of a job pod: job variables for the usual resources, jobs.resources for the others. */}}
{{- define "flows.jobResources" -}}
{{- $given := include "flows.resources" .Values.jobs.resources | fromYaml -}}
{{- $resources := dict -}}
{{- range $kind := list "request" "limit" -}}
{{- $amounts := get $given (printf "%ss" $kind) | default dict -}}
{{- range $name := list "cpu" "memory" "ephemeral-storage" -}}
{{- $_ := set $amounts $name (printf "{{ %s_%s }}" (replace "-" "_" $name) $kind) -}}
{{- end -}}
{{- $_ := set $resources (printf "%ss" $kind) $amounts -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Variables of a job pod; the worker adds the API's. */}}
{{- define "flows.jobEnv" -}}
{{- $own := include "flows.withSettings" (dict "root" . "own" (include "flows.ownJobEnv" .)) -}}
{{- $inherited := include "flows.env" (dict "own" $own "given" (include "flows.inheritedReferences" . | fromYamlArray)) -}}
{{- include "flows.env" (dict "own" $inherited "given" .Values.jobs.env) -}}
{{- end -}}

{{- define "flows.ownJobEnv" -}}
# The blank makes it text, which a variable has to be; a deadline of null becomes the word None.
- {name: FLOWS_POD_DEADLINE_SECONDS, value: " {{ `{{ active_deadline_seconds }}` }}"}
{{- with .Values.warehouse }}
{{- if .schema }}
- {name: FLOWS_TARGET_SCHEMA, value: {{ include "flows.text" .schema }}}
{{- end }}
{{- if .threads }}
- {name: FLOWS_THREADS, value: {{ include "flows.text" .threads }}}
{{- end }}
{{- if .target }}
- {name: DBT_TARGET, value: {{ include "flows.text" .target }}}
{{- end }}
{{- if include "flows.usesPostgres" $ }}
- {name: PGHOST, value: {{ include "flows.text" .postgres.host }}}
- {name: PGPORT, value: {{ include "flows.text" .postgres.port }}}
- {name: PGUSER, value: {{ include "flows.text" .postgres.user }}}
- {name: PGDATABASE, value: {{ include "flows.text" .postgres.database }}}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "flows.text" .postgres.existingSecret }}, key: {{ include "flows.text" .postgres.key }}}}
{{- end }}
{{- end }}
{{- $onClaim := and (include "flows.duckdbClaim" .) (not (include "flows.hasHome" .)) }}
{{- if $onClaim }}
- {name: FLOWS_WAREHOUSE_FOLDER, value: /var/lib/flow-of-flows/warehouse}
{{- end }}
{{- if .Values.stateStore.existingClaim }}
- {name: FLOWS_STATE_STORE, value: /var/lib/flow-of-flows-state}
{{- else if .Values.stateStore.s3 }}
- {name: FLOWS_STATE_STORE, value: {{ regexReplaceAll "/+$" .Values.stateStore.s3 "" | toJson }}}
{{- else if $onClaim }}
- {name: FLOWS_STATE_STORE, value: /var/lib/flow-of-flows/state}
{{- end }}
{{ include "flows.ownSettings" . }}
{{- end -}}

{{/* Whether the values set FLOWS_HOME: the DuckDB files and the state are then in it, on the claim or not. */}}
{{- define "flows.hasHome" -}}
{{- if hasKey .Values.settings "FLOWS_HOME" -}}yes{{- end -}}
{{- range .Values.jobs.env -}}
{{- if eq .name "FLOWS_HOME" -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{/* Prefect's settings that the worker has by reference: job pods get the same reference, unless jobs.env sets another. */}}
{{- define "flows.inheritedReferences" -}}
{{- $own := list -}}
{{- range .Values.jobs.env -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- $inherited := list -}}
{{- range .Values.worker.env -}}
{{- $from := .valueFrom | default dict -}}
{{- if and (hasPrefix "PREFECT_" .name) (or $from.secretKeyRef $from.configMapKeyRef) (not (has .name $own)) -}}
{{- $inherited = append $inherited . -}}
{{- end -}}
{{- end -}}
{{- toYaml $inherited -}}
{{- end -}}

{{/* The worker copies its own settings as plain text into each Job, before the variables of the template. It omits those
that are null here: the ones that job pods have by reference, and the ones that jobs.env sets. */}}
{{- define "flows.uncopiedVariables" -}}
{{- $names := dict -}}
{{- range concat .Values.jobs.env (include "flows.inheritedReferences" . | fromYamlArray) -}}
{{- if hasPrefix "PREFECT_" .name -}}
{{- $_ := set $names .name nil -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Whether job pods set a variable themselves, or the worker's value does not come from prefect.*: (dict "root" $ "name" "X") */}}
{{- define "flows.isGiven" -}}
{{- range concat .root.Values.jobs.env .root.Values.worker.env -}}
{{- if eq .name $.name -}}yes{{- end -}}
{{- end -}}
{{- end -}}
