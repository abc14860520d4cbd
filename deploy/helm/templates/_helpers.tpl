{{- define "mosaic.name" -}}
{{- printf "%s-%s" .Release.Name .Values.role | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "mosaic.labels" -}}
app.kubernetes.io/name: mosaic-fl
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.role }}
{{- end -}}

{{- define "mosaic.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "mosaic.claim" -}}
{{- .Values.state.existing | default (printf "%s-state" (include "mosaic.name" .)) -}}
{{- end -}}

{{- define "mosaic.container" -}}
image: {{ include "mosaic.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* What both pods share. Keys are copied into memory as files of their owner alone: mosaic refuses others, and a
secret's files are the group's, too. */ -}}
{{- define "mosaic.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch # a run's folders stay their owner's alone
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
initContainers:
  - name: keys
    {{- include "mosaic.container" . | nindent 4 }}
    command: [sh, -c, "umask 077 && cp -L /secret/* /keys/"]
    volumeMounts:
      - {name: secret, mountPath: /secret, readOnly: true}
      - {name: keys, mountPath: /keys}
{{- end -}}

{{- define "mosaic.volumes" -}}
- name: state
  persistentVolumeClaim: {claimName: {{ include "mosaic.claim" . | quote }}}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: tmp
  emptyDir: {}
- name: home
  emptyDir: {}
{{- end -}}

{{- define "mosaic.mounts" -}}
- {name: state, mountPath: /state}
- {name: keys, mountPath: /keys, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /home/mosaic}
{{- end -}}
