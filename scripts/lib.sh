# shellcheck shell=bash
# What the scripts of this folder share. Source it; it runs nothing by itself.
#
# Read from the environment:
#   PG_VERSION      major version of PostgreSQL (15, or what PG_CONFIG says)
#   PG_CONFIG       the pg_config to build with (Debian's of that version)
#   SSDB_RUN_DIR    where the cluster of `make run` lives (.run in the checkout)
#   SSDB_PGPORT     number in the name of its Unix socket (54329); it listens on no TCP port
#   SSDB_HTTP_ADDR, SSDB_HTTP_PORT   where its HTTP server listens (127.0.0.1, 9000)

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd "$ROOT"

PG_CONFIG_GIVEN="${PG_CONFIG:-}"
if [[ -n $PG_CONFIG_GIVEN && -x $PG_CONFIG_GIVEN ]]; then
    PG_VERSION="${PG_VERSION:-$("$PG_CONFIG_GIVEN" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')}"
fi
PG_VERSION="${PG_VERSION:-15}"
PG_CONFIG="${PG_CONFIG_GIVEN:-/usr/lib/postgresql/$PG_VERSION/bin/pg_config}"
export PG_VERSION PG_CONFIG

# make's own settings: cargo would take the job server in them for its own.
unset MAKEFLAGS MFLAGS MAKELEVEL

# rustup puts cargo here, and tells only shells that log in.
[[ -d ${CARGO_HOME:-${HOME:-/root}/.cargo}/bin ]] && PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
export PATH

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    (($# == 0)) || printf '       %s\n' "$@" >&2
    exit 1
}
[[ -t 1 ]] || say() { printf '==> %s\n' "$*"; }

is_root() { [[ $(id -u) == 0 ]]; }

# sudo may ask for a password only where somebody can answer.
can_be_root() { is_root || { command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }; }

as_root() {
    if is_root; then
        "$@"
    else
        sudo "$@"
    fi
}

# ------------------------------------------------------------------------------------------------ what must be installed

# The Debian packages that are needed to build and run; a script may add to them before it calls setup.
PACKAGES=(build-essential pkg-config clang libclang-dev curl ca-certificates openssl python3)

# Installs the packages that are missing.
ensure_packages() {
    local wanted=("${PACKAGES[@]}")
    # Somebody else's pg_config: that PostgreSQL is there already, wherever it came from.
    [[ -n $PG_CONFIG_GIVEN ]] || wanted+=("postgresql-$PG_VERSION" "postgresql-server-dev-$PG_VERSION")

    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        [[ -x $PG_CONFIG ]] || die "this is no Debian, and PG_CONFIG names no pg_config." \
            "Install PostgreSQL with its server headers, a C compiler, libclang, curl and python3, and set PG_CONFIG."
        return 0
    fi

    local package missing=()
    for package in "${wanted[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    if ((${#missing[@]})); then
        can_be_root || die "these packages are missing: ${missing[*]}" \
            "Install them as root, or start this again as root or as a user who may use sudo."
        say "Installing ${missing[*]}"
        apt_install "${missing[@]}"
    fi
    [[ -x $PG_CONFIG ]] || die "there is no $PG_CONFIG." \
        "PG_VERSION=$PG_VERSION: if Debian has no such version, see https://wiki.postgresql.org/wiki/Apt, or set PG_CONFIG."
}

# Debian creates and starts a cluster `main` on port 5432 with the first PostgreSQL server that is installed. Nobody asked for one
# here, so it is switched off for the length of this installation; clusters and settings that are there already stay as they are.
apt_install() {
    local settings=/etc/postgresql-common/createcluster.d no_main=
    # Needs the packages' own answer to everything, also where root is reached by sudo, which drops the environment.
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)

    as_root "${apt[@]}" update || die "apt-get update failed"
    if [[ " $* " == *" postgresql-$PG_VERSION "* ]]; then
        no_main=$settings/stonescriptdb-setup.conf
        # shellcheck disable=SC2064 # the value of now
        trap "as_root rm -f '$no_main'" EXIT
        as_root mkdir -p "$settings"
        as_root sh -c "echo 'create_main_cluster = false' >'$no_main'"
    fi
    local status=0
    as_root "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null </dev/null || status=$?
    if [[ -n $no_main ]]; then
        as_root rm -f "$no_main"
        trap - EXIT
    fi
    ((status == 0)) || die "apt-get install failed: $*" \
        "If a package has no candidate, this Debian does not carry PostgreSQL $PG_VERSION: set PG_VERSION to the one it has (15 … 18)."
}

ensure_cargo() {
    command -v cargo >/dev/null || die "cargo is not installed." \
        "Install Rust with rustup, for the user that runs this:" \
        "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" \
        "and start again."
    # pgrx formats the bindings that it makes with it. rustup's minimal profile, which the Docker image of Rust is made with, is without it.
    rustfmt --version >/dev/null 2>&1 || rustup component add rustfmt || die "rustfmt is not installed." \
        "pgrx needs it to build; with rustup: rustup component add rustfmt"
}

# cargo-pgrx in the version that Cargo.toml asks of pgrx (they must be the same), told about this PostgreSQL.
ensure_pgrx() {
    local version
    version="$(sed -n 's/^pgrx *=.*"=\([0-9.]*\)".*/\1/p' Cargo.toml | head -n 1)"
    [[ -n $version ]] || die "Cargo.toml has no line pgrx = \"=…\""
    if [[ $(cargo pgrx --version 2>/dev/null) != "cargo-pgrx $version" ]]; then
        say "Installing cargo-pgrx $version"
        # --force: another version of it may be there.
        cargo install cargo-pgrx --version "=$version" --locked --force
    fi

    local home="${PGRX_HOME:-$HOME/.pgrx}"
    if ! grep -qs "^ *pg$PG_VERSION *=" "$home/config.toml"; then
        say "Telling cargo-pgrx about $PG_CONFIG"
        mkdir -p "$home"
        cargo pgrx init "--pg$PG_VERSION" "$PG_CONFIG" --no-run
    fi
}

setup() {
    ensure_packages
    ensure_cargo
    ensure_pgrx
}

# --------------------------------------------------------------------------------------------------------- the extension

# install_extension release|debug [feature …]: builds it and copies the files that changed into PostgreSQL's directories.
# It is built as a package first, so that the copying can be done by root alone, and so that an unchanged library stays untouched:
# install(1) makes a new file of a changed one, whereas writing into a library that a running server has mapped would crash it.
install_extension() {
    local profile="$1" out args file target
    shift
    out="$(target_dir)/$profile/package-pg$PG_VERSION"
    args=(--pg-config "$PG_CONFIG" --out-dir "$out")
    [[ $profile == release ]] || args+=(--debug)
    (($# == 0)) || args+=(--features "$*")

    local place
    for place in "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)/extension"; do
        [[ -w $place ]] || can_be_root || die "only root may write into $place, where PostgreSQL looks for extensions." \
            "Start this again as root or as a user who may use sudo, or set PG_CONFIG to a PostgreSQL of your own."
    done

    say "Building the extension ($profile, PostgreSQL $PG_VERSION${*:+, $*})"
    rm -rf "$out"
    cargo pgrx package "${args[@]}"

    local changed=0
    while IFS= read -r -d '' file; do
        target="${file#"$out"}"
        cmp -s "$file" "$target" && continue
        copy_installed "$file" "$target"
        changed=1
    done < <(find "$out" -type f -print0)
    if ((changed)); then
        note "installed into $("$PG_CONFIG" --pkglibdir) and $("$PG_CONFIG" --sharedir)/extension"
    else
        note "already installed"
    fi
}

copy_installed() {
    local mode=644 run=()
    [[ $1 == *.so ]] && mode=755
    [[ -w $(dirname "$2") ]] || run=(as_root)
    "${run[@]}" install -D -m "$mode" "$1" "$2"
}

target_dir() {
    local dir="${CARGO_TARGET_DIR:-target}"
    [[ $dir == /* ]] || dir="$ROOT/$dir"
    echo "$dir"
}

# Clippy over everything, warnings being errors; once more with the in-server tests, which are a feature of the extension.
run_clippy() {
    local version=()
    [[ $PG_VERSION == 15 ]] || version=(--no-default-features --features "stonescriptdb/pg$PG_VERSION")
    cargo clippy --workspace --all-targets "${version[@]}" -- -D warnings
    cargo clippy --package stonescriptdb --features pg_test "${version[@]}" -- -D warnings
}

# ------------------------------------------------------------------------------------------------- the cluster of `make run`

# Sets RUN_DIR, SOCKET_DIR, SERVER_USER and the rest of what describes the cluster; touches nothing.
# shellcheck disable=SC2034 # the scripts read them
describe_cluster() {
    PG_BIN="$(dirname "$PG_CONFIG")"
    [[ ! -x $PG_CONFIG ]] || PG_BIN="$("$PG_CONFIG" --bindir)"
    PGPORT_RUN="${SSDB_PGPORT:-54329}"
    HTTP_ADDR="${SSDB_HTTP_ADDR:-127.0.0.1}"
    HTTP_PORT="${SSDB_HTTP_PORT:-9000}"
    [[ $PGPORT_RUN =~ ^[0-9]+$ && $HTTP_PORT =~ ^[0-9]+$ ]] || die "SSDB_PGPORT and SSDB_HTTP_PORT are numbers"

    # PostgreSQL refuses to run as root.
    SERVER_USER="$(id -un)"
    if is_root; then
        SERVER_USER=postgres
    fi

    local checkout
    checkout="$(printf '%s' "$ROOT" | sha256sum | cut -c 1-12)"
    RUN_DIR="${SSDB_RUN_DIR:-$ROOT/.run}"
    [[ $RUN_DIR == /* ]] || RUN_DIR="$ROOT/$RUN_DIR"
    if is_root && [[ -z ${SSDB_RUN_DIR:-} ]] && ! server_user_reaches "$(dirname "$RUN_DIR")"; then
        RUN_DIR="/var/lib/stonescriptdb-run/$checkout"
    fi

    # The path of a Unix socket has at most 107 bytes.
    SOCKET_DIR="$RUN_DIR/socket"
    if (($(printf '%s' "$SOCKET_DIR/.s.PGSQL.$PGPORT_RUN" | wc -c) > 107)); then
        SOCKET_DIR="/tmp/stonescriptdb-$SERVER_USER-$(printf '%s' "$RUN_DIR" | sha256sum | cut -c 1-12)"
    fi
    DATA_DIR="$RUN_DIR/data"
    TOKEN_FILE="$RUN_DIR/admin_token"
    LOG_FILE="$RUN_DIR/log"
}

server_user_reaches() { (cd / && as_server test -x "$1") 2>/dev/null; }

# Runs a program as the user that the server runs as.
as_server() {
    if is_root; then
        # The caller's folder may be one that this user may not enter.
        (cd / && runuser -u "$SERVER_USER" -- "$@")
    else
        "$@"
    fi
}

is_running() { [[ -s $DATA_DIR/postmaster.pid ]] && as_server "$PG_BIN/pg_ctl" -D "$DATA_DIR" status >/dev/null 2>&1; }

stop_cluster() { as_server "$PG_BIN/pg_ctl" -D "$DATA_DIR" -m fast -w -t 60 stop >/dev/null; }

# psql on the private cluster as its superuser.
psql_run() { "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$SOCKET_DIR" -p "$PGPORT_RUN" -U postgres -d postgres "$@"; }

# Where a client on this machine finds the HTTP server.
http_url() {
    case "$HTTP_ADDR" in
        0.0.0.0 | '*' | '') echo "http://127.0.0.1:$HTTP_PORT" ;;
        ::) echo "http://[::1]:$HTTP_PORT" ;;
        *:*) echo "http://[$HTTP_ADDR]:$HTTP_PORT" ;;
        *) echo "http://$HTTP_ADDR:$HTTP_PORT" ;;
    esac
}
