#!/usr/bin/env bash
# Starts a real Elasticsearch (Maven Central artifacts) on 127.0.0.1 and prints how to reach it; builds it on first use.
#   start.sh [--port N] [--data-dir DIR] [--prepare] [setting=value ...]      port 0: any free port
# Environment: ES_HEAP (default 1g), ES_JAVA_HOME (a JDK, 21 or newer), ES_JAVA_OPTS.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib/service.sh"
cache="$CACHE_ROOT/elasticsearch"
parse_args "${ELASTICSEARCH_PORT:-29200}" "${ELASTICSEARCH_DATA_DIR:-$(service_dir elasticsearch)}" "$@"
mkdir -p "$cache" "$DATA_DIR"
DATA_DIR="$(cd "$DATA_DIR" && pwd)"
[ "$PREPARE" = 1 ] || already_up "$DATA_DIR"

# --- a JDK, 21 or newer
major() { "$1/bin/java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.specification\.version = \([0-9]*\).*/\1/p'; }
find_jdk() {
  local candidate version
  for candidate in "${ES_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/* \
    "$(readlink -f "$(command -v javac 2>/dev/null)" 2>/dev/null | sed 's:/bin/javac$::')"; do
    [ -n "$candidate" ] && [ -x "$candidate/bin/javac" ] && [ -x "$candidate/bin/java" ] || continue
    version="$(major "$candidate")"
    [ "${version:-0}" -ge 21 ] && { printf '%s\n' "$candidate"; return 0; }
  done
  return 1
}
jdk="$(find_jdk)" || die "no JDK 21 or newer: set ES_JAVA_HOME to one (or give a server: ELASTICSEARCH_URL)"

# --- build, once per content of pom.xml and src/
key="$(cd "$here" && find pom.xml src -type f -print0 | sort -z | xargs -0 cat | cksum | tr ' ' '-')"
dist="$cache/dist-$key"
exec 9>"$cache/lock"; flock 9   # two starts: the second waits for the first one's build
if [ ! -e "$dist/complete" ]; then
  need mvn "Maven builds the server (or give one: ELASTICSEARCH_URL)"
  say "building Elasticsearch (once) ..."
  work="$(mktemp -d "$cache/build.XXXXXX")"
  cp -R "$here/pom.xml" "$here/src" "$work/"
  (cd "$work" && JAVA_HOME="$jdk" mvn -q -B package) >"$work/mvn.log" 2>&1 </dev/null \
    || { tail -n 40 "$work/mvn.log" >&2; die "the build failed (see $work/mvn.log)"; }
  mv "$work/target/elasticsearch-launcher-1.jar" "$work/target/dist/"
  touch "$work/target/dist/complete"
  rm -rf "$dist"; mv "$work/target/dist" "$dist"; rm -rf "$work"
fi
exec 9>&-
[ "$PREPARE" = 0 ] || exit 0
[ "$PORT" = 0 ] || port_free "$PORT"

# --- native code: only libzstd is needed, and the system's own will do; the vector library is left out
native="$DATA_DIR/native"; mkdir -p "$native" "$DATA_DIR/tmp"
for lib in /usr/lib/*/libzstd.so.1 /usr/lib64/libzstd.so.1 /usr/lib/libzstd.so.1 /lib/*/libzstd.so.1; do
  [ ! -e "$lib" ] || { ln -sf "$lib" "$native/libzstd.so"; break; }
done

heap="${ES_HEAP:-1g}" ready="$DATA_DIR/ready"
options=(
  "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -XX:G1HeapRegionSize=4m -XX:InitiatingHeapOccupancyPercent=30 -XX:G1ReservePercent=15
  -XX:+ExitOnOutOfMemoryError -XX:-OmitStackTraceInFastThrow -Xss1m -Xshare:auto
  --add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED
  -Djava.awt.headless=true -Dfile.encoding=UTF-8 -Djava.io.tmpdir="$DATA_DIR/tmp"
  -Des.networkaddress.cache.ttl=60 -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true
  -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0
  -Dio.netty.allocator.numDirectArenas=0
  -Des.nativelibs.path="$native" -Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false
)
rm -f "$ready"
: >"$DATA_DIR/service.log"
# shellcheck disable=SC2086  # ES_JAVA_OPTS is a list of options
launch "$DATA_DIR/service.pid" "$DATA_DIR/service.log" \
  "$jdk/bin/java" "${options[@]}" ${ES_JAVA_OPTS:-} -cp "$dist/elasticsearch-launcher-1.jar:$dist/lib/*" \
  services.elasticsearch.Launcher "$dist" "$DATA_DIR" "http.port=$PORT" "${REST[@]}"
wait_for 120 "$DATA_DIR/service.pid" "$DATA_DIR/service.log" test -s "$ready"   # first line: the URL; second: its health
{ read -r url; read -r health; } <"$ready"
case "$health" in
  200*'"timed_out":false'*) ;;
  *) stop_pid "$DATA_DIR/service.pid"; die "it started, but is not healthy: $health (see $DATA_DIR/service.log)" ;;
esac

emit "$DATA_DIR" <<ENV
ELASTICSEARCH_URL=$url
ENV
