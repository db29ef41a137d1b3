#!/usr/bin/env bash
# Stops the PostgreSQL that start.sh started for this data directory.   stop.sh [--data-dir DIR]
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args 0 "${POSTGRES_DATA_DIR:-$(postgres_dir postgres)}" "$@"
stop_pid "$DATA_DIR/service.pid" INT 20   # INT is PostgreSQL's fast shutdown
rm -f "$DATA_DIR/service.env"
