#!/usr/bin/env bash
# Starts an api-server for the page on 127.0.0.1, without a scheduler, and prints how to reach it.
#   start.sh [--port N] [--data-dir AIRFLOW_HOME]
# Its pipelines are in every state that the page shows (tests/page/world.py). Users: admin / admin, viewer / viewer.
# Environment: PYTHON, RESET=1 (begin anew). Every AIRFLOW__* and AIRFLOW_CONN_* variable of the caller wins: the
# metadata database is a SQLite file, and the state too, unless AIRFLOW__DATABASE__SQL_ALCHEMY_CONN and
# AIRFLOW_CONN_PIPELINE_STATE name PostgreSQL.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args "${PAGE_PORT:-28480}" "${PAGE_DATA_DIR:-$(service_dir page)}" "$@"
[ "$PREPARE" = 0 ] || exit 0
if [ "${RESET:-0}" = 1 ]; then "$here/stop.sh" --data-dir "$DATA_DIR"; rm -rf "$DATA_DIR"; fi
mkdir -p "$DATA_DIR"
DATA_DIR="$(cd "$DATA_DIR" && pwd)"
already_up "$DATA_DIR"
port_free "$PORT"
python="$(project_python)"
export PYTHONPATH="$PROJECT${PYTHONPATH:+:$PYTHONPATH}"

if [ ! -f "$DATA_DIR/airflow.env" ]; then
  (umask 077; "$python" - "$DATA_DIR" "$PORT" >"$DATA_DIR/airflow.env" <<'PY'
import base64, os, secrets, shlex, sys
from pathlib import Path
from tests.page.world import environment
home, port = sys.argv[1:]
settings = environment(Path(home)) | {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__PORT": port,
    "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
    "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
    "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
}
for name, value in settings.items():
    print(f"{name}={shlex.quote(os.environ.get(name, value))}")
PY
  )
fi
set -a; . "$DATA_DIR/airflow.env"; set +a
if [ ! -f "$DATA_DIR/filled" ]; then
  "$python" -W ignore -m airflow db migrate >"$DATA_DIR/db.log" 2>&1 || { tail "$DATA_DIR/db.log" >&2; die "db migrate"; }
  "$python" -W ignore -m tests.page.world "$DATA_DIR" >>"$DATA_DIR/db.log" 2>&1 || { tail -n 30 "$DATA_DIR/db.log" >&2; die "tests.page.world"; }
  touch "$DATA_DIR/filled"
fi
launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" "$python" -m airflow api-server
wait_for 120 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" curl -fsS --noproxy '*' "http://127.0.0.1:$PORT/api/v2/version"
emit "$DATA_DIR" <<ENV
PAGE_URL=http://127.0.0.1:$PORT
PAGE_TOKEN_URL=http://127.0.0.1:$PORT/auth/token
PAGE_ENV_FILE=$DATA_DIR/airflow.env
ENV
