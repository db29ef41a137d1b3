# What the start and stop scripts share. Source it; it starts nothing by itself.
#
# Every service keeps its state in one data directory:
#   service.pid   "PID STARTTIME" of the process (STARTTIME guards against a reused PID)
#   service.log   its output
#   service.env   the KEY=VALUE lines that start.sh printed
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE   # without .pyc files each process would compile what it imports anew

CACHE_ROOT="${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-services"   # builds, shared by all checkouts
PROJECT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)"
PREPARE=0   # 1: install or build what is missing, and start nothing

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "'$1' is needed: $2"; }

# parse_args DEFAULT_PORT DEFAULT_DATA_DIR "$@"  ->  PORT, DATA_DIR, PREPARE, REST (what is left, as an array)
parse_args() {
  PORT="$1"; DATA_DIR="$2"; REST=(); shift 2
  while [ $# -gt 0 ]; do
    case "$1" in
      --port) PORT="${2:?--port needs a number}"; shift 2 ;;
      --data-dir) DATA_DIR="${2:?--data-dir needs a folder}"; shift 2 ;;
      --prepare) PREPARE=1; shift ;;
      *=*) REST+=("$1"); shift ;;
      *) die "unknown argument '$1' (known: --port N, --data-dir DIR, --prepare)" ;;
    esac
  done
  case "$PORT" in ''|*[!0-9]*) die "the port must be a number, not '$PORT'" ;; esac
}

# service_dir NAME: the default data directory of a service. PostgreSQL refuses to run as root, and its user cannot look into
# root's home: there, root's services that run as another user live in /var/lib.
service_dir() { printf '%s' "$CACHE_ROOT/$1/tests"; }
postgres_dir() {
  if [ "$(id -u)" = 0 ]; then printf '%s' "/var/lib/pipeline-services/tests-$1"; else service_dir "$1"; fi
}

# apt_install PACKAGE...: as root only; no service of the package's own is started
apt_install() {
  [ "$(id -u)" = 0 ] || die "install these Debian packages first: $*"
  command -v apt-get >/dev/null || die "no apt-get here: install $* in your system's own way"
  say "installing the Debian packages $* (once) ..."
  { apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } \
    </dev/null >&2 || die "apt-get could not install $*"
}

# project_python: the interpreter of the project's environment (PYTHON names another one)
project_python() {
  local python="${PYTHON:-$PROJECT/.venv/bin/python}"
  command -v "$python" >/dev/null || die "no interpreter '$python': run 'make setup' first, or set PYTHON"
  command -v "$python"
}

proc_start() { # start time of process $1 in clock ticks, empty when it is gone or a zombie
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 0
  stat="${stat##*) }"
  set -- $stat
  [ "$1" = Z ] || printf '%s' "${20}"
}

write_pid() { # PIDFILE PID
  printf '%s %s\n' "$2" "$(proc_start "$2")" >"$1"
}

running_pid() { # prints the PID when the process that wrote PIDFILE is still the one running
  local pid started
  [ -f "$1" ] || return 1
  read -r pid started <"$1" || return 1
  [ -n "$pid" ] && [ -n "$started" ] && [ "$(proc_start "$pid")" = "$started" ] && printf '%s' "$pid"
}

# launch PIDFILE LOGFILE COMMAND...: own session, no terminal, pid file written
launch() {
  local pidfile="$1" log="$2"; shift 2
  setsid "$@" >>"$log" 2>&1 </dev/null &
  write_pid "$pidfile" $!
}

# stop_pid PIDFILE [SIGNAL] [SECONDS]: signal, wait, then KILL; only ever that process group
stop_pid() {
  local pidfile="$1" signal="${2:-TERM}" seconds="${3:-20}" pid target i
  if pid="$(running_pid "$pidfile")"; then
    target="$pid"
    [ "$(ps -o pgid= -p "$pid" | tr -d ' ')" = "$pid" ] && target="-$pid"
    kill "-$signal" -- "$target" 2>/dev/null || true
    for ((i = 0; i < seconds * 10; i++)); do
      running_pid "$pidfile" >/dev/null || break
      sleep 0.1
    done
    running_pid "$pidfile" >/dev/null && kill -KILL -- "$target" 2>/dev/null || true
  fi
  rm -f "$pidfile"
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port_free() { ! port_open "$1" || die "port $1 on 127.0.0.1 is taken by another process; choose one with --port"; }

# wait_for SECONDS PIDFILE LOGFILE COMMAND...: until COMMAND succeeds; fails early when the process dies
wait_for() {
  local seconds="$1" pidfile="$2" log="$3" i; shift 3
  for ((i = 0; i < seconds * 5; i++)); do
    "$@" >/dev/null 2>&1 && return 0
    running_pid "$pidfile" >/dev/null || { tail -n 20 "$log" >&2; rm -f "$pidfile"; die "the process ended before it was ready (log above)"; }
    sleep 0.2
  done
  tail -n 20 "$log" >&2
  stop_pid "$pidfile"
  die "not ready after $seconds s (log above)"
}

# already_up DATA_DIR: when the service runs, print its connection again and exit 0
already_up() {
  if running_pid "$1/service.pid" >/dev/null && [ -f "$1/service.env" ]; then
    cat "$1/service.env"; exit 0
  fi
}

# emit DATA_DIR  (KEY=VALUE lines on stdin): keep and print the connection. The last line is printed by the start that
# started the server, and by no other, so that its caller knows what is his to stop.
emit() { (umask 077; tee "$1/service.env"); echo SERVICE_STARTED=1; }
