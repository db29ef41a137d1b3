#!/usr/bin/env bash
# Starts an OpenTelemetry Collector and a Prometheus on 127.0.0.1, on the files of observability/, and prints how to reach them.
#   start.sh [--port N] [--data-dir DIR] [--prepare]   N: Prometheus; +1: the collector's values, +2: OTLP by HTTP
# Prometheus reads the collector and evaluates the rules every second. The first run builds the collector from its Go modules.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
. "$here/../lib/go.sh"

home="$CACHE_ROOT/collector"
parse_args "${COLLECTOR_PORT:-29190}" "${COLLECTOR_DATA_DIR:-$(service_dir collector)}" "$@"
web=$((PORT + 1)) otlp=$((PORT + 2))

mkdir -p "$home/bin" "$DATA_DIR"
[ "$PREPARE" = 1 ] || already_up "$DATA_DIR"
exec 9>"$home/lock"; flock 9   # two starts: the second waits for the first one's build
command -v promtool >/dev/null || apt_install prometheus
collector="$home/bin/otelcol-$(cat "$here/go.mod" "$here/main.go" | sha256sum | cut -c1-12)"
[ -x "$collector" ] || go_build_folder "$here" "$collector"
exec 9>&-
[ "$PREPARE" = 0 ] || exit 0
stop_pid "$DATA_DIR/collector.pid" TERM 10   # of a start that failed after it
port_free "$PORT"
port_free "$web"
port_free "$otlp"

files="$PROJECT/observability"
rm -rf "$DATA_DIR/data"   # what an earlier start measured
mkdir -p "$DATA_DIR/data"
sed -e "s/statsd-exporter:9102/127.0.0.1:$web/" -e 's/_interval: 15s/_interval: 1s/' \
    -e "s|\[alerts.yaml\]|[\"$files/alerts.yaml\"]|" "$files/prometheus.yaml" >"$DATA_DIR/prometheus.yaml"
cat >"$DATA_DIR/here.yaml" <<YAML
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:$otlp"}}}}
exporters: {prometheus: {endpoint: "127.0.0.1:$web"}}
service: {telemetry: {metrics: {level: none}}}
YAML

launch "$DATA_DIR/collector.pid" "$DATA_DIR/collector.log" \
  "$collector" --config="$files/otel-collector.yaml" --config="$DATA_DIR/here.yaml"
wait_for 30 "$DATA_DIR/collector.pid" "$DATA_DIR/collector.log" curl -fsS --noproxy '*' "http://127.0.0.1:$web/metrics"
launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  prometheus --config.file="$DATA_DIR/prometheus.yaml" --storage.tsdb.path="$DATA_DIR/data" \
  --web.listen-address="127.0.0.1:$PORT" --enable-feature=native-histograms
wait_for 60 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" curl -fsS --noproxy '*' "http://127.0.0.1:$PORT/-/ready"

emit "$DATA_DIR" <<ENV
COLLECTOR_QUERY_URL=http://127.0.0.1:$PORT
COLLECTOR_OTLP_URL=http://127.0.0.1:$otlp
ENV
