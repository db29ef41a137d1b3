#!/usr/bin/env bash
# Starts a real S3 server (MinIO, single drive) on 127.0.0.1 and prints how to reach it.
#   start.sh [--port N] [--data-dir DIR] [--prepare]
# Environment: S3_ACCESS_KEY, S3_SECRET_KEY (>= 8 characters), S3_BUCKETS (space-separated, made if missing).
# The first run builds MinIO from its Go module (three to four minutes on two cores); later runs take a second.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
. "$here/../lib/go.sh"

MINIO_VERSION="v0.0.0-20260212201848-7aac2a2c5b7c"   # AGPL-3.0: run as a separate test service, never link or ship it
home="$CACHE_ROOT/s3"
parse_args "${S3_PORT:-29000}" "${S3_DATA_DIR:-$(service_dir s3)}" "$@"
key="${S3_ACCESS_KEY:-pipeline-test}" secret="${S3_SECRET_KEY:-pipeline-test-secret}" buckets="${S3_BUCKETS:-lake data-stage}"

mkdir -p "$home/bin" "$DATA_DIR"
[ "$PREPARE" = 1 ] || already_up "$DATA_DIR"
exec 9>"$home/lock"; flock 9   # two starts: the second waits for the first one's build

minio="$home/bin/minio-$MINIO_VERSION"
[ -x "$minio" ] || go_build "github.com/minio/minio@$MINIO_VERSION" "$minio"
exec 9>&-
[ "$PREPARE" = 0 ] || exit 0
port_free "$PORT"

export MINIO_ROOT_USER="$key" MINIO_ROOT_PASSWORD="$secret" MINIO_BROWSER=off MINIO_UPDATE=off \
       MINIO_REGION="${S3_REGION:-us-east-1}"
mkdir -p "$DATA_DIR/drive"
launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  "$minio" server --quiet --address "127.0.0.1:$PORT" "$DATA_DIR/drive"
wait_for 60 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" curl -fsS --noproxy '*' "http://127.0.0.1:$PORT/minio/health/cluster"

# "ready" is said before the drive is open, and until then every request gets 503: ask again for a minute.
for bucket in $buckets; do   # a signed PUT /bucket; 409 means that it is there already
  for ((i = 0; i < 120; i++)); do
    code="$(curl -sS --noproxy '*' -o "$DATA_DIR/answer.xml" -w '%{http_code}' -X PUT --aws-sigv4 "aws:amz:$MINIO_REGION:s3" \
      --user "$key:$secret" "http://127.0.0.1:$PORT/$bucket" || true)"
    case "$code" in 5??|000) sleep 0.5 ;; *) break ;; esac
  done
  if [ "$code" != 200 ] && [ "$code" != 409 ]; then
    cat "$DATA_DIR/answer.xml" >&2 || true; echo >&2; tail -n 20 "$DATA_DIR/service.log" >&2
    stop_pid "$DATA_DIR/service.pid"
    die "creating bucket '$bucket' answered HTTP $code (answer and log above)"
  fi
done

emit "$DATA_DIR" <<ENV
S3_ENDPOINT_URL=http://127.0.0.1:$PORT
AWS_ENDPOINT_URL_S3=http://127.0.0.1:$PORT
AWS_ACCESS_KEY_ID=$key
AWS_SECRET_ACCESS_KEY=$secret
AWS_DEFAULT_REGION=$MINIO_REGION
S3_BUCKET=${buckets%% *}
ENV
