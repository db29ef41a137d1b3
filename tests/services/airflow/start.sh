#!/usr/bin/env bash
# Starts a whole Airflow 3 on 127.0.0.1 from the project's own Python environment and prints how to reach it.
#   start.sh [--port N] [--data-dir AIRFLOW_HOME]
# Environment:
#   PYTHON              interpreter of the environment that has apache-airflow and the project (default: .venv)
#   DAGS_FOLDER         folder of DAG files (default: AIRFLOW_HOME/dags)
#   EXECUTOR            LocalExecutor (default) or CeleryExecutor, whose Airflow has a port and a folder of its own
#   CELERY_WORKERS      worker processes (default 2), each with WORKER_CONCURRENCY task slots (default 4)
#   CELERY_QUEUES       queues of each worker, the last for all others (default "default default,heavy")
#   AIRFLOW_ADMIN, AIRFLOW_ADMIN_PASSWORD   the login (default admin / admin)
#   TRIGGERER=0         leaves the triggerer out (deferrable operators then do not resume)
#   PRELOAD             folder with the airflow_local_settings.py of the scheduler (default: preload/)
#   RESET=1             begins with an empty metadata database
# Every AIRFLOW__* and AIRFLOW_CONN_* variable of the caller is passed on and wins over what is set here.
# An own PostgreSQL (port N+1) and, for Celery, an own Redis (port N+2) are started, unless
# AIRFLOW__DATABASE__SQL_ALCHEMY_CONN / AIRFLOW__CELERY__BROKER_URL name others.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
executor="${EXECUTOR:-LocalExecutor}"
case "$executor" in
  LocalExecutor) port=28080 name=airflow ;;
  CeleryExecutor) port=28180 name=airflow-celery ;;
  *) die "EXECUTOR is LocalExecutor or CeleryExecutor, not '$executor'" ;;
esac
parse_args "${AIRFLOW_PORT:-$port}" "${AIRFLOW_DATA_DIR:-$(service_dir "$name")}" "$@"
[ "$PREPARE" = 0 ] || exit 0
mkdir -p "$DATA_DIR/run" "$DATA_DIR/dags"
DATA_DIR="$(cd "$DATA_DIR" && pwd)"
run="$DATA_DIR/run"
if running_pid "$run/api-server.pid" >/dev/null && [ -f "$DATA_DIR/service.env" ]; then
  cat "$DATA_DIR/service.env"; exit 0
fi
port_free "$PORT"

python="$(project_python)"
version="$("$python" -c "from airflow.version import version; print(version)" 2>/dev/null)" ||
  die "$python has no apache-airflow; run 'make setup'"
admin="${AIRFLOW_ADMIN:-admin}" password="${AIRFLOW_ADMIN_PASSWORD:-admin}"
if [ "$executor" = CeleryExecutor ]; then
  "$python" -c "import airflow.providers.celery" 2>/dev/null || die "apache-airflow-providers-celery is not installed"
fi

trap '[ $? = 0 ] || "$here/stop.sh" --data-dir "$DATA_DIR"' EXIT   # no half of an Airflow stays behind

# --- database and broker ---------------------------------------------------------------------------------------
if [ -z "${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN:-}" ]; then
  pg="$DATA_DIR/postgres"
  [ "$(id -u)" != 0 ] || pg="$(postgres_dir "airflow-$(printf '%s' "$DATA_DIR" | sha256sum | cut -c1-8)")"
  printf '%s\n' "$pg" >"$run/postgres.dir"
  started="$("$here/../postgres/start.sh" --port "$((PORT + 1))" --data-dir "$pg")"
  eval "export $(printf '%s\n' "$started" | grep '^AIRFLOW__DATABASE__')"
fi
if [ "$executor" = CeleryExecutor ] && [ -z "${AIRFLOW__CELERY__BROKER_URL:-}" ]; then
  started="$("$here/../redis/start.sh" --port "$((PORT + 2))" --data-dir "$DATA_DIR/redis")"
  eval "export $(printf '%s\n' "$started" | grep '^AIRFLOW__CELERY__')"
fi

# --- configuration: environment variables only, no airflow.cfg to edit ---------------------------------------------
if [ ! -f "$DATA_DIR/secrets.env" ]; then   # every component must have the same ones
  (umask 077; "$python" - >"$DATA_DIR/secrets.env" <<'PY'
import base64, os, secrets
print("AIRFLOW__API_AUTH__JWT_SECRET=" + secrets.token_urlsafe(48))
print("AIRFLOW__API__SECRET_KEY=" + secrets.token_urlsafe(48))
print("AIRFLOW__CORE__FERNET_KEY=" + base64.urlsafe_b64encode(os.urandom(32)).decode())
PY
  )
fi
(umask 077; printf '{"%s": "%s"}' "$admin" "$password" >"$DATA_DIR/passwords.json")
{
  cat "$DATA_DIR/secrets.env"
  cat <<ENV
AIRFLOW__CORE__EXECUTOR=$executor
AIRFLOW__CORE__DAGS_FOLDER=${DAGS_FOLDER:-$DATA_DIR/dags}
AIRFLOW__CORE__LOAD_EXAMPLES=False
AIRFLOW__CORE__PARALLELISM=8
AIRFLOW__CORE__EXECUTION_API_SERVER_URL=http://127.0.0.1:$PORT/execution/
AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=$admin:admin
AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=$DATA_DIR/passwords.json
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN}
AIRFLOW__API__HOST=127.0.0.1
AIRFLOW__API__PORT=$PORT
AIRFLOW__API__BASE_URL=http://127.0.0.1:$PORT
AIRFLOW__API__WORKERS=1
AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=5
AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL=5
AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD=20
AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL=10
AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME=0.3
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=60
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL=5
AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=$((PORT + 3))
AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=$((PORT + 4))
AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT=60
AIRFLOW__PIPELINES__ALLOWED_MODULES=./,tests.doubles
ENV
  case "$version" in 3.2.*)   # docs/how-to/downstream.md: later versions do not need it
    echo "AIRFLOW__CORE__ASSET_MANAGER_CLASS=airflow_pipeline_provider.factory.asset_manager.PartitionAssetManager" ;;
  esac
  if [ "$executor" = CeleryExecutor ]; then
    cat <<ENV
AIRFLOW__CELERY__BROKER_URL=${AIRFLOW__CELERY__BROKER_URL}
AIRFLOW__CELERY__RESULT_BACKEND=db+${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN/+psycopg2/}
AIRFLOW__CELERY__WORKER_CONCURRENCY=${WORKER_CONCURRENCY:-4}
AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER=1
ENV
  fi
} | (umask 077; while read -r line; do   # the caller's own value wins; a value may end in '='
  key=${line%%=*} value=${line#*=}
  printf '%s=%q\n' "$key" "${!key:-$value}"
done >"$DATA_DIR/airflow.env")
printf 'AIRFLOW_HOME=%q\n' "$DATA_DIR" >>"$DATA_DIR/airflow.env"
set -a; . "$DATA_DIR/airflow.env"; set +a
export PATH="$(dirname "$python"):$PATH"

# --- the components -------------------------------------------------------------------------------------------
if [ "${RESET:-0}" = 1 ]; then "$python" -m airflow db reset --yes >"$run/db.log" 2>&1 || { tail "$run/db.log" >&2; die "db reset"; }
else "$python" -m airflow db migrate >"$run/db.log" 2>&1 || { tail "$run/db.log" >&2; die "db migrate"; }; fi

component() { local name="$1"; shift; launch "$run/$name.pid" "$run/$name.log" "$python" -m airflow "$@"; }
component api-server api-server
wait_for 120 "$run/api-server.pid" "$run/api-server.log" curl -fsS --noproxy '*' "http://127.0.0.1:$PORT/api/v2/version"
# LocalExecutor forks tasks from the scheduler
PYTHONPATH="${PRELOAD:-$here/preload}${PYTHONPATH:+:$PYTHONPATH}" component scheduler scheduler
component dag-processor dag-processor
want=(metadatabase scheduler dag_processor)
if [ "${TRIGGERER:-1}" = 1 ]; then component triggerer triggerer; want+=(triggerer); fi
if [ "$executor" = CeleryExecutor ]; then
  read -r -a queues <<<"${CELERY_QUEUES:-default default,heavy}"
  for ((n = 1; n <= ${CELERY_WORKERS:-2}; n++)); do
    # logs are read from the shared AIRFLOW_HOME/logs, so no log server (two would fight over its port)
    : >"$run/worker-$n.log"
    component "worker-$n" celery worker --celery-hostname "worker$n@%h" --pid "$run/worker-$n.celery" --skip-serve-logs \
      --queues "${queues[n - 1]:-${queues[-1]}}"
  done
  for ((n = 1; n <= ${CELERY_WORKERS:-2}; n++)); do
    wait_for 120 "$run/worker-$n.pid" "$run/worker-$n.log" grep -q "ready\." "$run/worker-$n.log"
  done
fi
healthy() {
  curl -fsS --noproxy '*' "http://127.0.0.1:$PORT/api/v2/monitor/health" | "$python" -c '
import json, sys
health = json.load(sys.stdin)
sys.exit(any((health.get(name) or {}).get("status") != "healthy" for name in sys.argv[1:]))' "${want[@]}"
}
wait_for 120 "$run/scheduler.pid" "$run/scheduler.log" healthy

emit "$DATA_DIR" <<ENV
AIRFLOW_HOME=$DATA_DIR
AIRFLOW_ENV_FILE=$DATA_DIR/airflow.env
AIRFLOW_UI_URL=http://127.0.0.1:$PORT
AIRFLOW_API_URL=http://127.0.0.1:$PORT/api/v2
AIRFLOW_TOKEN_URL=http://127.0.0.1:$PORT/auth/token
AIRFLOW_USERNAME=$admin
AIRFLOW_PASSWORD=$password
AIRFLOW_EXECUTOR=$executor
AIRFLOW_DAGS_FOLDER=$AIRFLOW__CORE__DAGS_FOLDER
ENV
