# shellcheck shell=bash
# Roots of other Debians, for the scripts that test in them. Source it after lib.sh. Making and entering them takes root, debootstrap and
# a machine that allows mounts; these are made in a mount namespace of the one program that needs them, and end with it.
#
# Read from the environment:
#   SSDB_DEB_MIRROR   where Debian is fetched from

MIRROR="${SSDB_DEB_MIRROR:-http://deb.debian.org/debian}"

can_have_roots() { is_root && unshare --mount --pid --fork true 2>/dev/null; }

# Folders of this machine that the programs in the root see at the same path, and what they find in their environment.
BINDS=() ENVIRONMENT=()

# make_root SUITE FOLDER [PACKAGE …]: a Debian, with these packages and no PostgreSQL cluster.
make_root() {
    local suite="$1" folder="$2" log scripts=/usr/share/debootstrap/scripts script=()
    shift 2
    # An older debootstrap does not know the names of newer Debians, but it knows how the newest is made.
    [[ -e $scripts/$suite ]] || script=("$scripts/sid")
    log="$(mktemp)"
    say "Making a fresh Debian $suite"
    rm -rf --one-file-system "$folder"
    mkdir -p "$folder"
    # debootstrap leaves its own mounts where it fails.
    unshare --mount debootstrap --variant=minbase --include=ca-certificates,postgresql-common "$suite" "$folder" "$MIRROR" "${script[@]}" \
        >"$log" 2>&1 || { tail -n 20 "$log" "$folder/debootstrap/debootstrap.log" >&2; die "debootstrap failed"; }
    # It may have been made in a folder that was root's alone.
    chmod 755 "$folder"
    echo 'create_main_cluster = false' >>"$folder/etc/postgresql-common/createcluster.conf"
    # Nobody needs it after the machine has crashed, and dpkg is several times as fast.
    echo 'force-unsafe-io' >"$folder/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # Debian's testing is signed for a week at a time, and a mirror may be older. debootstrap looks at signatures, not at that.
    echo 'Acquire::Check-Valid-Until "false";' >"$folder/etc/apt/apt.conf.d/90mirror"
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    # Whom this machine trusts beyond what Debian does: a company's proxy, say.
    if [[ -n $(compgen -G '/usr/local/share/ca-certificates/*.crt') ]]; then
        cp /usr/local/share/ca-certificates/*.crt "$folder/usr/local/share/ca-certificates/"
        inside "$folder" update-ca-certificates >"$log" 2>&1
    fi
    if (($#)); then
        inside "$folder" apt-get -qq install -y --no-install-recommends "$@" >"$log" 2>&1 ||
            { tail -n 20 "$log" >&2; die "these could not be installed: $*"; }
        inside "$folder" apt-get clean
    fi
    rm -f "$log"
}

# inside FOLDER PROGRAM …: runs a program in that root, with process ids of its own: what is started there ends with it.
# shellcheck disable=SC2016 # the inner shell expands it
inside() {
    local folder="$1"
    shift
    unshare --mount --pid --fork --kill-child sh -c '
        set -e
        root="$1"
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        while [ "$1" != -- ]; do
            mkdir -p "$root$1"
            mount --bind "$1" "$root$1"
            shift
        done
        shift
        exec chroot "$root" "$@"' \
        sh "$folder" "${BINDS[@]}" -- \
        env -i HOME=/root DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "${ENVIRONMENT[@]}" "$@"
}
