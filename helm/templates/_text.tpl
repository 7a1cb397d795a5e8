{{/* The text of a scalar. Helm reads every number of a values file as a float and would print 1000000 as 1e+06. */}}
{{- define "flows.plain" -}}
{{- if typeIs "string" . -}}{{ . }}{{- else if not (kindIs "invalid" .) -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* The same in quotes: without them, YAML reads 123, 0123, 1e3, yes and null as another type. */}}
{{- define "flows.text" -}}
{{- include "flows.plain" . | toJson -}}
{{- end -}}

{{/* A map whose values are text, as JSON: labels, annotations, selectors. */}}
{{- define "flows.texts" -}}
{{- $texts := dict -}}
{{- range $name, $value := . -}}
{{- $_ := set $texts $name (include "flows.plain" $value) -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}

{{/* Requests and limits of a container, each amount as text. */}}
{{- define "flows.resources" -}}
{{- $resources := dict -}}
{{- range $kind := list "requests" "limits" -}}
{{- $amounts := dict -}}
{{- range $name, $amount := get ($ | default dict) $kind | default dict -}}
{{- if not (kindIs "invalid" $amount) -}}
{{- $_ := set $amounts $name (include "flows.plain" $amount) -}}
{{- end -}}
{{- end -}}
{{- if $amounts -}}
{{- $_ := set $resources $kind $amounts -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The chart's own entries and those of a value, which replace the chart's entries of the same name. Each name must be
unique: server-side apply rejects a list with duplicates. (dict "own" "YAML of a list" "given" list "by" "name") */}}
{{- define "flows.merged" -}}
{{- $by := .by | default "name" -}}
{{- $names := list -}}
{{- range .given -}}
{{- $names = append $names (get . $by) -}}
{{- end -}}
{{- $entries := list -}}
{{- range .own | fromYamlArray -}}
{{- if not (has (get . $by) $names) -}}
{{- $entries = append $entries . -}}
{{- end -}}
{{- end -}}
{{- concat $entries (.given | default list) | toYaml -}}
{{- end -}}

{{/* Variables of a container: `own` as above, `given` as in a pod. A number or boolean becomes its text. */}}
{{- define "flows.env" -}}
{{- $given := list -}}
{{- range .given -}}
{{- $entry := deepCopy . -}}
{{- if hasKey . "value" -}}
{{- $_ := set $entry "value" (include "flows.plain" .value) -}}
{{- end -}}
{{- $given = append $given $entry -}}
{{- end -}}
{{- include "flows.merged" (dict "own" .own "given" $given) -}}
{{- end -}}
