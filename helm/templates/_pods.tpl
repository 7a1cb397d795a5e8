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

{{/* The start of a pod's spec: (dict "root" $ "account" "name" "token" false) */}}
{{- define "flows.podStart" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: {{ .token }}
enableServiceLinks: false
securityContext:
  {{- include "flows.podSecurity" .root | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod of ours may go; empty values are left out. */}}
{{- define "flows.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $.values $key }}
{{ $key }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A pod of ours that does one thing and ends: hooks and tests. */}}
{{- define "flows.oneShot" -}}
restartPolicy: Never
containers:
  - name: {{ .name }}
    image: {{ include "flows.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- include "flows.apiEnv" .root | nindent 6 }}
      {{- if .config }}
      {{- include "flows.settingsEnv" .root | nindent 6 }}
      {{- end }}
      {{- with .env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with .envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml .root.Values.registration.resources | nindent 6 }}
    securityContext:
      {{- include "flows.containerSecurity" .root | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      {{- if .config }}
      - {name: registration, mountPath: /etc/flow-of-flows, readOnly: true}
      {{- with include "flows.secretMounts" .root | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with .root.Values.registration.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- end }}
volumes:
  - {name: tmp, emptyDir: {}}
  {{- if .config }}
  - {name: registration, configMap: {name: {{ include "flows.name" .root }}-registration}}
  {{- with include "flows.secretVolumes" .root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .root.Values.registration.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end -}}
