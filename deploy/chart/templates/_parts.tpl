{{/* Names, labels and the parts that all Pods share. */}}

{{- define "vpp.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* labels of an object: dict root, part */}}
{{- define "vpp.labels" -}}
{{ include "vpp.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "vpp.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "vpp.metadata" -}}
metadata:
  name: {{ include "vpp.name" .root }}-{{ .name | default .part }}
  labels:
    {{- include "vpp.labels" . | nindent 4 }}
{{- end }}

{{/* Secrets and addresses: of yours, or those that an operator makes */}}
{{- define "vpp.database" -}}
{{- if .Values.database.cloudnativepg.enabled -}}
name: {{ include "vpp.name" . }}-db-app
items: [{key: uri, path: database_url}]
{{- else -}}
name: {{ .Values.database.secret }}
items: [{key: {{ .Values.database.key }}, path: database_url}]
{{- end }}
{{- end }}

{{- define "vpp.kafka" -}}
{{- $name := include "vpp.name" . -}}
{{- with .Values.kafka -}}
{{- if .strimzi.enabled -}}
servers: {{ $name }}-kafka-kafka-bootstrap:9093
protocol: SASL_SSL
mechanism: SCRAM-SHA-512
username: {{ $name }}-user
secret: {{ $name }}-user
key: password
ca: {{ $name }}-kafka-cluster-ca-cert
port: 9093
{{- else -}}
servers: {{ .bootstrapServers | quote }}
protocol: {{ .securityProtocol }}
mechanism: {{ .saslMechanism }}
username: {{ .username | quote }}
secret: {{ .secret | quote }}
key: {{ .key }}
ca: {{ .caSecret | quote }}
port: {{ .port }}
{{- end }}
{{- end }}
{{- end }}

{{/* The environment of our scripts: dict root, models (whether they need MLflow) */}}
{{- define "vpp.env" -}}
{{- $kafka := include "vpp.kafka" .root | fromYaml -}}
- {name: VPP_DATABASE_URL_FILE, value: /run/secrets/vpp/database_url}
- {name: VPP_KAFKA_BOOTSTRAP_SERVERS, value: {{ $kafka.servers | quote }}}
- {name: VPP_KAFKA_SECURITY_PROTOCOL, value: {{ $kafka.protocol }}}
{{- if hasPrefix "SASL" $kafka.protocol }}
- {name: VPP_KAFKA_SASL_MECHANISM, value: {{ $kafka.mechanism }}}
- {name: VPP_KAFKA_SASL_USERNAME, value: {{ $kafka.username | quote }}}
- {name: VPP_KAFKA_SASL_PASSWORD_FILE, value: /run/secrets/vpp/kafka_password}
{{- end }}
{{- if .models }}
{{- if .root.Values.mlflow.secret }}
- {name: VPP_MLFLOW_TRACKING_URI_FILE, value: /run/secrets/vpp/mlflow_uri}
{{- else }}
- {name: VPP_MLFLOW_TRACKING_URI, value: {{ .root.Values.mlflow.uri | quote }}}
{{- end }}
{{- end }}
{{- if .code }}
- {name: PYTHONPATH, value: /app}
{{- end }}
{{- if .token }}
- {name: VPP_SERVE_TOKEN_FILE, value: /run/secrets/vpp/serve_token}
{{- end }}
{{- end }}

{{- define "vpp.volumes" -}}
{{- $kafka := include "vpp.kafka" .root | fromYaml -}}
- name: tmp
  emptyDir: {}
- name: work
  emptyDir: {}
- name: config
  configMap:
    name: {{ include "vpp.name" .root }}-config
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          {{- include "vpp.database" .root | nindent 10 }}
      {{- if hasPrefix "SASL" $kafka.protocol }}
      - secret:
          name: {{ $kafka.secret }}
          items: [{key: {{ $kafka.key }}, path: kafka_password}]
      {{- end }}
      {{- if $kafka.ca }}
      - secret:
          name: {{ $kafka.ca }}
          items: [{key: ca.crt, path: kafka_ca.crt}]
      {{- end }}
      {{- if and .models .root.Values.mlflow.secret }}
      - secret:
          name: {{ .root.Values.mlflow.secret }}
          items: [{key: {{ .root.Values.mlflow.key }}, path: mlflow_uri}]
      {{- end }}
      {{- if .token }}
      - secret:
          name: {{ .root.Values.serve.tokenSecret }}
          items: [{key: token, path: serve_token}]
      {{- end }}
{{- if .data }}
- name: data
  {{- if .root.Values.data.claim }}
  persistentVolumeClaim:
    claimName: {{ .root.Values.data.claim }}
    readOnly: true
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- if .reports }}
- name: reports
  persistentVolumeClaim:
    claimName: {{ include "vpp.name" .root }}-reports
{{- end }}
{{- end }}

{{/* A Pod of one of our scripts. dict root, part, image, args, resources; and where they hold:
models, token, data, reports, code (what it is given; a program of others does not find our code), ports, probes, restart */}}
{{- define "vpp.pod" -}}
metadata:
  labels:
    {{- include "vpp.selector" . | nindent 4 }}
  {{- if not .restart }}
  annotations:
    vpp/config: {{ include "vpp.ini" .root | sha256sum | trunc 16 }}
  {{- end }}
spec:
  {{- include "vpp.pod-security" .root | nindent 2 }}
  restartPolicy: {{ .restart | default "Always" }}
  {{- if not .restart }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "vpp.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: {{ .part }}
      image: {{ .image }}
      imagePullPolicy: {{ .root.Values.images.pullPolicy }}
      workingDir: /work
      args: {{ toJson .args }}
      env:
        {{- include "vpp.env" . | nindent 8 }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .probes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      {{- include "vpp.container-security" . | nindent 6 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: work, mountPath: /work}
        - {name: config, mountPath: /config, readOnly: true}
        - {name: secrets, mountPath: /run/secrets/vpp, readOnly: true}
        {{- if .data }}
        - {name: data, mountPath: /data, readOnly: true}
        {{- end }}
        {{- if .reports }}
        - {name: reports, mountPath: /reports}
        {{- end }}
  volumes:
    {{- include "vpp.volumes" . | nindent 4 }}
{{- end }}

{{- define "vpp.pod-security" -}}
serviceAccountName: {{ include "vpp.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "vpp.container-security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* What a Job runs: dict of a Pod, and parallelism. Each index runs the same command, and claims
what no other one has. A wrong configuration (exit code 2) is not tried again. */}}
{{- define "vpp.job" -}}
completionMode: Indexed
completions: {{ .parallelism | default 1 }}
parallelism: {{ .parallelism | default 1 }}
backoffLimitPerIndex: 3
podFailurePolicy:
  rules:
    - action: FailJob
      onExitCodes: {containerName: {{ .part }}, operator: In, values: [2]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
{{- with .deadline }}
activeDeadlineSeconds: {{ . }}
{{- end }}
template:
  {{- include "vpp.pod" . | nindent 2 }}
{{- end }}
