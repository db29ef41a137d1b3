#!/usr/bin/env bash
# Stops the S3 server that start.sh started for this data directory.   stop.sh [--data-dir DIR]
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args 0 "${S3_DATA_DIR:-$(service_dir s3)}" "$@"
stop_pid "$DATA_DIR/service.pid" TERM 20
rm -f "$DATA_DIR/service.env"
