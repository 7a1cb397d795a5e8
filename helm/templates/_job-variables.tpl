{{/* The schema of the job variables: Prefect's names and this chart's. It is closed, so that a misspelt name is rejected. */}}
{{- define "flows.jobVariables" -}}
{{- $text := dict "type" "string" -}}
{{- $nothingOr := list (dict "type" "string") (dict "type" "null") -}}
{{- $amountOr := list (dict "type" "string") (dict "type" "number") (dict "type" "null") -}}
{{- $resources := include "flows.resources" .Values.jobs.resources | fromYaml -}}
type: object
additionalProperties: false
properties:
  name: {title: Name, anyOf: {{ toJson $nothingOr }}, default: null, description: Name of the Job; from the flow run unless given.}
  env: {title: Environment Variables, type: object, default: {{ include "flows.uncopiedVariables" . }}, additionalProperties: {anyOf: {{ toJson $nothingOr }}}, description: Variables of the container. No secrets.}
  labels: {title: Labels, type: object, default: {}, additionalProperties: {{ toJson $text }}, description: Labels of Job and pod.}
  annotations: {title: Annotations, type: object, default: {{ include "flows.texts" .Values.jobs.annotations }}, additionalProperties: {{ toJson $text }}, description: Annotations of Job and pod.}
  command: {title: Command, anyOf: {{ toJson $nothingOr }}, default: python -m flow_of_flows.pod, description: What the pod runs.}
  namespace: {title: Namespace, type: string, default: {{ toJson .Release.Namespace }}, description: Namespace of the Job.}
  image: {title: Image, anyOf: {{ toJson $nothingOr }}, default: {{ include "flows.image" . | toJson }}, description: Image of the container.}
  image_pull_policy: {title: Image Pull Policy, type: string, enum: [IfNotPresent, Always, Never], default: {{ .Values.image.pullPolicy }}, description: When nodes pull the image.}
  service_account_name: {title: Service Account Name, anyOf: {{ toJson $nothingOr }}, default: {{ include "flows.jobAccount" . | toJson }}, description: Identity of the pod.}
  automount_service_account_token: {title: Service Account Token, type: boolean, default: false, description: Whether the pod gets a token of the Kubernetes API. Only the sweeper needs one.}
  backoff_limit: {title: Backoff Limit, type: integer, minimum: 0, default: 0, description: Retries by Kubernetes. 0 lets Prefect start an evicted run again.}
  finished_job_ttl: {title: Finished Job TTL, anyOf: [{type: integer}, {type: "null"}], default: {{ toJson .Values.jobs.ttlSecondsAfterFinished }}, description: Seconds that a finished Job is kept.}
  cluster_config: {title: Cluster Config, anyOf: [{type: object}, {type: "null"}], default: null, description: Another cluster than the worker's own.}
  cpu_request: {title: CPU Request, anyOf: {{ toJson $amountOr }}, default: {{ dig "requests" "cpu" nil $resources | toJson }}, description: "As in Kubernetes, for example 250m."}
  cpu_limit: {title: CPU Limit, anyOf: {{ toJson $amountOr }}, default: {{ dig "limits" "cpu" nil $resources | toJson }}, description: "As in Kubernetes; without one a start takes half the time."}
  memory_request: {title: Memory Request, anyOf: {{ toJson $amountOr }}, default: {{ dig "requests" "memory" nil $resources | toJson }}, description: "As in Kubernetes, for example 512Mi."}
  memory_limit: {title: Memory Limit, anyOf: {{ toJson $amountOr }}, default: {{ dig "limits" "memory" nil $resources | toJson }}, description: "As in Kubernetes, for example 1Gi."}
  ephemeral_storage_request: {title: Ephemeral Storage Request, anyOf: {{ toJson $amountOr }}, default: {{ dig "requests" "ephemeral-storage" nil $resources | toJson }}, description: "As in Kubernetes, for example 10Gi."}
  ephemeral_storage_limit: {title: Ephemeral Storage Limit, anyOf: {{ toJson $amountOr }}, default: {{ dig "limits" "ephemeral-storage" nil $resources | toJson }}, description: "As in Kubernetes, for example 20Gi."}
  tmp_size_limit: {title: Size Limit of /tmp, anyOf: {{ toJson $amountOr }}, default: {{ include "flows.plain" .Values.jobs.tmpSizeLimit | default nil | toJson }}, description: "As in Kubernetes, for example 10Gi: a pod that writes more is evicted."}
  node_selector: {title: Node Selector, type: object, default: {{ include "flows.texts" .Values.jobs.nodeSelector }}, additionalProperties: {{ toJson $text }}, description: Labels of the nodes it may run on.}
  tolerations: {title: Tolerations, type: array, items: {type: object}, default: {{ toJson .Values.jobs.tolerations }}, description: Taints that it tolerates.}
  affinity: {title: Affinity, type: object, default: {{ toJson .Values.jobs.affinity }}, description: As in a pod.}
  priority_class_name: {title: Priority Class, anyOf: {{ toJson $nothingOr }}, default: {{ include "flows.plain" .Values.jobs.priorityClassName | default nil | toJson }}, description: As in a pod.}
  active_deadline_seconds: {title: Active Deadline, anyOf: [{type: integer, minimum: 1}, {type: "null"}], default: {{ toJson .Values.jobs.activeDeadlineSeconds }}, description: Seconds after which Kubernetes ends the Job.}
  termination_grace_period_seconds: {title: Termination Grace Period, type: integer, minimum: 0, default: {{ toJson .Values.jobs.terminationGracePeriodSeconds }}, description: Seconds from SIGTERM to SIGKILL.}
{{- end -}}

{{- define "flows.jobVariableNames" -}}
{{- keys (include "flows.jobVariables" . | fromYaml).properties | sortAlpha | toJson -}}
{{- end -}}
