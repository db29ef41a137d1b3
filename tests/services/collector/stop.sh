#!/usr/bin/env bash
# Stops the Prometheus and the collector that start.sh started for this data directory.   stop.sh [--data-dir DIR]
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args 0 "${COLLECTOR_DATA_DIR:-$(service_dir collector)}" "$@"
stop_pid "$DATA_DIR/service.pid" TERM 20
stop_pid "$DATA_DIR/collector.pid" TERM 10
rm -f "$DATA_DIR/service.env"
