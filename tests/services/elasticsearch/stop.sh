#!/usr/bin/env bash
# Stops the Elasticsearch that start.sh started for this data directory.   stop.sh [--data-dir DIR]
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args 0 "${ELASTICSEARCH_DATA_DIR:-$(service_dir elasticsearch)}" "$@"
stop_pid "$DATA_DIR/service.pid" TERM 30
rm -f "$DATA_DIR/service.env" "$DATA_DIR/ready"
