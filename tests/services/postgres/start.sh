#!/usr/bin/env bash
# Starts PostgreSQL on 127.0.0.1 (Airflow's metadata database) and prints how to reach it.
#   start.sh [--port N] [--data-dir DIR] [--prepare]
# Environment: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (all "airflow" unless set).
# Durability is off (fsync=off): a killed server recovers, a power cut may not.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"

parse_args "${POSTGRES_PORT:-25432}" "${POSTGRES_DATA_DIR:-$(postgres_dir postgres)}" "$@"
user="${POSTGRES_USER:-airflow}" password="${POSTGRES_PASSWORD:-airflow}" db="${POSTGRES_DB:-airflow}"

find_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
bin="$(find_bin)"
if [ -z "$bin" ]; then
  if [ ! -f /etc/postgresql-common/createcluster.conf ]; then apt_install postgresql-common; fi
  # no cluster of the package's own
  sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
  apt_install postgresql
  bin="$(find_bin)"
fi
[ "$PREPARE" = 0 ] || exit 0

mkdir -p "$DATA_DIR"
already_up "$DATA_DIR"
port_free "$PORT"

as_pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then
  chown postgres: "$DATA_DIR"
  as_pg test -w "$DATA_DIR" || die "user 'postgres' cannot reach $DATA_DIR; choose another --data-dir"
fi
if [ ! -f "$DATA_DIR/cluster/PG_VERSION" ]; then
  pw="$(mktemp)"; printf '%s\n' "$password" >"$pw"; chmod 644 "$pw"
  as_pg "$bin/initdb" -D "$DATA_DIR/cluster" -U "$user" -A scram-sha-256 --pwfile="$pw" -E UTF8 --locale=C.UTF-8 >&2
  rm -f "$pw"
fi

: >>"$DATA_DIR/service.log"
launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  $( [ "$(id -u)" = 0 ] && echo "setpriv --reuid=postgres --regid=postgres --init-groups" ) \
  "$bin/postgres" -D "$DATA_DIR/cluster" -h 127.0.0.1 -p "$PORT" -k "" \
  -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=128MB
export PGPASSWORD="$password"
psql_() { "$bin/psql" -X -q -h 127.0.0.1 -p "$PORT" -U "$user" "$@"; }
wait_for 60 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" psql_ -d postgres -c "select 1"
[ -n "$(psql_ -d postgres -Atc "select 1 from pg_database where datname = '$db'")" ] \
  || "$bin/createdb" -h 127.0.0.1 -p "$PORT" -U "$user" "$db"

emit "$DATA_DIR" <<ENV
POSTGRES_HOST=127.0.0.1
POSTGRES_PORT=$PORT
POSTGRES_USER=$user
POSTGRES_PASSWORD=$password
POSTGRES_DB=$db
POSTGRES_URL=postgresql://$user:$password@127.0.0.1:$PORT/$db
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=postgresql+psycopg2://$user:$password@127.0.0.1:$PORT/$db
ENV
