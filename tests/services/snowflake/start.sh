#!/usr/bin/env bash
# Starts the project's Snowflake stand-in (demo/snowflake) on 127.0.0.1 and prints how to reach it.
#   start.sh [--port N] [--data-dir DIR]
# Needs the S3 server that external stages read: S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY in the
# environment, or else the one that ../s3/start.sh started with its default data directory.
# Environment: SNOWFLAKE_USER, SNOWFLAKE_PASSWORD, SNOWFLAKE_PUBLIC_KEY_FILE (PEM, for key-pair login), PYTHON.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
parse_args "${SNOWFLAKE_PORT:-28443}" "${SNOWFLAKE_DATA_DIR:-$(service_dir snowflake)}" "$@"
[ "$PREPARE" = 0 ] || exit 0
export SNOWFLAKE_USER="${SNOWFLAKE_USER:-pipeline}" SNOWFLAKE_PASSWORD="${SNOWFLAKE_PASSWORD:-pipeline-test}"
database=ANALYTICS schema=RAW

if [ -z "${S3_ENDPOINT_URL:-}" ]; then
  s3_env="$(service_dir s3)/service.env"
  [ -f "$s3_env" ] || die "no S3 server: run ../s3/start.sh first, or set S3_ENDPOINT_URL and the AWS_* keys"
  set -a; . "$s3_env"; set +a
fi

mkdir -p "$DATA_DIR"
if running_pid "$DATA_DIR/service.pid" >/dev/null && [ "$(cat "$DATA_DIR/s3" 2>/dev/null)" != "$S3_ENDPOINT_URL" ]; then
  die "it runs already, but reads stages from $(cat "$DATA_DIR/s3") and not from $S3_ENDPOINT_URL: stop it first"
fi
already_up "$DATA_DIR"
port_free "$PORT"
python="$(project_python)"
"$python" -c "import fakesnow" 2>/dev/null || die "$python has no fakesnow: run 'make setup'"

printf '%s\n' "$S3_ENDPOINT_URL" >"$DATA_DIR/s3"
PYTHONPATH="$PROJECT" launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  "$python" -W ignore -m demo.snowflake --port "$PORT" --data-dir "$DATA_DIR"
bundle="$DATA_DIR/tls/ca-bundle.pem"
wait_for 120 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  curl -sS --noproxy '*' --cacert "$bundle" -o /dev/null "https://127.0.0.1:$PORT/"

emit "$DATA_DIR" <<ENV
SNOWFLAKE_HOST=127.0.0.1
SNOWFLAKE_PORT=$PORT
SNOWFLAKE_ACCOUNT=pipeline
SNOWFLAKE_USER=$SNOWFLAKE_USER
SNOWFLAKE_PASSWORD=$SNOWFLAKE_PASSWORD
SNOWFLAKE_DATABASE=$database
SNOWFLAKE_SCHEMA=$schema
REQUESTS_CA_BUNDLE=$bundle
AIRFLOW_CONN_SNOWFLAKE_DEFAULT='{"conn_type":"snowflake","login":"$SNOWFLAKE_USER","password":"$SNOWFLAKE_PASSWORD","schema":"$schema","extra":{"account":"pipeline","database":"$database","host":"127.0.0.1","port":$PORT}}'
ENV
