#!/usr/bin/env bash
# Starts Prometheus's statsd_exporter and Prometheus on 127.0.0.1, on the files of observability/, and prints how to reach them.
#   start.sh [--port N] [--data-dir DIR] [--prepare]   N: Prometheus; +1: the exporter's web page, +2: StatsD by UDP
# Prometheus reads the exporter and evaluates the rules every second. The first run builds the exporter from its Go module.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
. "$here/../lib/go.sh"

EXPORTER_VERSION="v0.31.0"
home="$CACHE_ROOT/monitoring"
parse_args "${PROMETHEUS_PORT:-29090}" "${MONITORING_DATA_DIR:-$(service_dir monitoring)}" "$@"
web=$((PORT + 1)) statsd=$((PORT + 2))

mkdir -p "$home/bin" "$DATA_DIR"
files="$PROJECT/observability"
if [ "$PREPARE" = 0 ]; then
  sed -e "s/statsd-exporter:9102/127.0.0.1:$web/" -e 's/_interval: 15s/_interval: 1s/' \
      -e "s|\[alerts.yaml\]|[\"$files/alerts.yaml\"]|" "$files/prometheus.yaml" >"$DATA_DIR/prometheus.yaml"
  for pidfile in exporter service; do   # running ones read the files again
    ! pid="$(running_pid "$DATA_DIR/$pidfile.pid")" || kill -HUP "$pid"
  done
  already_up "$DATA_DIR"
fi
exec 9>"$home/lock"; flock 9   # two starts: the second waits for the first one's build
command -v promtool >/dev/null || apt_install prometheus
exporter="$home/bin/statsd_exporter-$EXPORTER_VERSION"
[ -x "$exporter" ] || go_build "github.com/prometheus/statsd_exporter@$EXPORTER_VERSION" "$exporter"
exec 9>&-
[ "$PREPARE" = 0 ] || exit 0
stop_pid "$DATA_DIR/exporter.pid" TERM 10   # of a start that failed after it
port_free "$PORT"
port_free "$web"

rm -rf "$DATA_DIR/data"   # what an earlier start measured
mkdir -p "$DATA_DIR/data"

launch "$DATA_DIR/exporter.pid" "$DATA_DIR/exporter.log" \
  "$exporter" --web.listen-address="127.0.0.1:$web" --statsd.listen-udp="127.0.0.1:$statsd" --statsd.listen-tcp="" \
  --statsd.mapping-config="$files/statsd-mapping.yaml"
wait_for 30 "$DATA_DIR/exporter.pid" "$DATA_DIR/exporter.log" curl -fsS --noproxy '*' "http://127.0.0.1:$web/-/healthy"
launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  prometheus --config.file="$DATA_DIR/prometheus.yaml" --storage.tsdb.path="$DATA_DIR/data" --web.listen-address="127.0.0.1:$PORT"
wait_for 60 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" curl -fsS --noproxy '*' "http://127.0.0.1:$PORT/-/ready"

emit "$DATA_DIR" <<ENV
PROMETHEUS_URL=http://127.0.0.1:$PORT
STATSD_EXPORTER_PORT=$statsd
ENV
