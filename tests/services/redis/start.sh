#!/usr/bin/env bash
# Starts Redis on 127.0.0.1 (Celery broker) and prints how to reach it.   start.sh [--port N] [--data-dir DIR] [--prepare]
# Nothing is kept on disk: after a restart the broker is empty.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args "${REDIS_PORT:-26379}" "${REDIS_DATA_DIR:-$(service_dir redis)}" "$@"

command -v redis-server >/dev/null || apt_install redis-server
[ "$PREPARE" = 0 ] || exit 0
mkdir -p "$DATA_DIR"
already_up "$DATA_DIR"
port_free "$PORT"

launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  redis-server --bind 127.0.0.1 --port "$PORT" --dir "$DATA_DIR" --daemonize no --save "" --appendonly no
wait_for 30 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" redis-cli -h 127.0.0.1 -p "$PORT" ping

emit "$DATA_DIR" <<ENV
REDIS_HOST=127.0.0.1
REDIS_PORT=$PORT
REDIS_URL=redis://127.0.0.1:$PORT/0
AIRFLOW__CELERY__BROKER_URL=redis://127.0.0.1:$PORT/0
ENV
