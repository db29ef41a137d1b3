#!/usr/bin/env bash
# Stops the Airflow that start.sh started for this AIRFLOW_HOME, and its own PostgreSQL and Redis.
#   stop.sh [--data-dir AIRFLOW_HOME]      The metadata database stays for the next start.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
name=airflow
[ "${EXECUTOR:-}" != CeleryExecutor ] || name=airflow-celery   # as start.sh has it
parse_args 0 "${AIRFLOW_DATA_DIR:-$(service_dir "$name")}" "$@"
run="$DATA_DIR/run"
for pidfile in "$run"/worker-*.pid "$run/triggerer.pid" "$run/scheduler.pid" "$run/dag-processor.pid" "$run/api-server.pid"; do
  [ ! -f "$pidfile" ] || stop_pid "$pidfile" TERM 30 &   # all at once: each takes some seconds
done
wait
rm -f "$run"/worker-*.celery "$DATA_DIR/service.env"
[ ! -d "$DATA_DIR/redis" ] || "$here/../redis/stop.sh" --data-dir "$DATA_DIR/redis"
[ ! -f "$run/postgres.dir" ] || "$here/../postgres/stop.sh" --data-dir "$(cat "$run/postgres.dir")"
