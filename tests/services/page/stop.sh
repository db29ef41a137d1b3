#!/usr/bin/env bash
# Stops the api-server that start.sh started for this home: stop.sh [--data-dir AIRFLOW_HOME]
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args 0 "${PAGE_DATA_DIR:-$(service_dir page)}" "$@"
stop_pid "$DATA_DIR/service.pid" TERM 20
rm -f "$DATA_DIR/service.env"
