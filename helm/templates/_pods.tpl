{{/* Pod Security "restricted", for every pod of the release. */}}
{{- define "flows.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "flows.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The start of a pod's spec: (dict "root" $ "account" "name" "token" false); both as text are placeholders of Prefect. */}}
{{- define "flows.podStart" -}}
serviceAccountName: {{ .account | toJson }}
automountServiceAccountToken: {{ toJson .token }}
enableServiceLinks: false
securityContext:
  {{- include "flows.podSecurity" .root | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod of the release may run; empty values are left out. */}}
{{- define "flows.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector: {{ include "flows.texts" . }}
{{- end }}
{{- range $key := list "tolerations" "affinity" }}
{{- with index $.values $key }}
{{ $key }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ include "flows.text" . }}
{{- end }}
{{- end -}}

{{/* A pod that runs one command and ends: hooks and tests. */}}
{{- define "flows.oneShot" -}}
restartPolicy: Never
containers:
  - name: {{ .name }}
    image: {{ include "flows.image" .root | toJson }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- if .config }}
      {{- include "flows.registrationEnv" .root | nindent 6 }}
      {{- else }}
      {{- include "flows.apiEnv" .root | nindent 6 }}
      {{- end }}
    {{- with .envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- include "flows.resources" .root.Values.registration.resources | nindent 6 }}
    securityContext:
      {{- include "flows.containerSecurity" .root | nindent 6 }}
    volumeMounts:
      {{- if .config }}
      {{- include "flows.merged" (dict "own" (include "flows.registrationMounts" .root) "given" .root.Values.registration.volumeMounts "by" "mountPath") | nindent 6 }}
      {{- else }}
      - {name: tmp, mountPath: /tmp}
      {{- end }}
volumes:
  {{- if .config }}
  {{- include "flows.merged" (dict "own" (include "flows.registrationVolumes" .root) "given" .root.Values.registration.volumes) | nindent 2 }}
  {{- else }}
  - {name: tmp, emptyDir: {}}
  {{- end }}
{{- end -}}
