{{/* What no schema can say: values that do not go together. */}}
{{- define "vpp.check" -}}
{{- $v := .Values -}}
{{- if and (not $v.kafka.strimzi.enabled) (not $v.kafka.bootstrapServers) -}}
{{- fail "kafka.bootstrapServers is empty: expected host:port, or kafka.strimzi.enabled" -}}
{{- end -}}
{{- if and $v.kafka.strimzi.enabled $v.kafka.bootstrapServers -}}
{{- fail "kafka.bootstrapServers and kafka.strimzi.enabled are both set: expected one of them" -}}
{{- end -}}
{{- if and (not $v.kafka.strimzi.enabled) (hasPrefix "SASL" $v.kafka.securityProtocol) (not (and $v.kafka.username $v.kafka.secret)) -}}
{{- fail (printf "kafka.securityProtocol is %s: expected kafka.username and kafka.secret" $v.kafka.securityProtocol) -}}
{{- end -}}
{{- if and $v.kafka.strimzi.enabled (gt (int $v.kafka.replicationFactor) (int $v.kafka.strimzi.replicas)) -}}
{{- fail (printf "kafka.replicationFactor is %d: expected at most kafka.strimzi.replicas, %d" (int $v.kafka.replicationFactor) (int $v.kafka.strimzi.replicas)) -}}
{{- end -}}
{{- with $v.sink -}}
{{- if and .autoscaling.enabled (gt (int .autoscaling.max) (int $v.kafka.partitions)) -}}
{{- fail (printf "sink.autoscaling.max is %d: expected at most kafka.partitions, %d; more sinks have nothing to read" (int .autoscaling.max) (int $v.kafka.partitions)) -}}
{{- end -}}
{{- if and .autoscaling.enabled (gt (int .autoscaling.min) (int .autoscaling.max)) -}}
{{- fail (printf "sink.autoscaling.min is %d: expected at most sink.autoscaling.max, %d" (int .autoscaling.min) (int .autoscaling.max)) -}}
{{- end -}}
{{- if and (not .autoscaling.enabled) (gt (int .replicas) (int $v.kafka.partitions)) -}}
{{- fail (printf "sink.replicas is %d: expected at most kafka.partitions, %d; more sinks have nothing to read" (int .replicas) (int $v.kafka.partitions)) -}}
{{- end -}}
{{- end -}}
{{- if not (or $v.mlflow.uri $v.mlflow.secret) -}}
{{- fail "mlflow.uri and mlflow.secret are empty: expected the server's address in one of them" -}}
{{- end -}}
{{- if and $v.mlflow.uri $v.mlflow.secret -}}
{{- fail "mlflow.uri and mlflow.secret are both set: expected one of them" -}}
{{- end -}}
{{- if and $v.mlflow.server.enabled (not $v.mlflow.secret) -}}
{{- fail "mlflow.server.enabled: expected its Secret in mlflow.secret" -}}
{{- end -}}
{{- if and $v.mlflow.server.s3Secret (not $v.mlflow.server.artifacts) -}}
{{- fail "mlflow.server.s3Secret: expected mlflow.server.artifacts, such as s3://bucket/folder" -}}
{{- end -}}
{{- if and $v.database.cloudnativepg.timescaledb (not $v.database.cloudnativepg.imageName) -}}
{{- fail "database.cloudnativepg.timescaledb: expected database.cloudnativepg.imageName, an image of yours with TimescaleDB; the operator's own has none" -}}
{{- end -}}
{{- if and $v.produce.enabled (not $v.data.claim) -}}
{{- fail "produce.enabled: expected data.claim, the PersistentVolumeClaim with the CSV files" -}}
{{- end -}}
{{- with $v.serve.ingress -}}
{{- if and .enabled (not (and .host .tlsSecret)) -}}
{{- fail "serve.ingress.enabled: expected serve.ingress.host and serve.ingress.tlsSecret; the token is not sent without TLS" -}}
{{- end -}}
{{- end -}}
{{- range $section, $key := dict "database" "url" "mlflow" "tracking_uri" -}}
{{- if hasKey (get $v.config $section | default dict) $key -}}
{{- fail (printf "config.%s.%s: expected in a Secret, which %s.secret names" $section $key $section) -}}
{{- end -}}
{{- end -}}
{{- end }}
