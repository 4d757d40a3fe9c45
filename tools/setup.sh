#!/usr/bin/env bash
# Make this checkout ready: system packages, .venv, the native build. Only what is missing or out of date.
#
#   tools/setup.sh run      what the library needs to run
#   tools/setup.sh dev      and what the checks and tests need
#   tools/setup.sh docs     and what the documentation needs
#   tools/setup.sh sanitize what the checks need, and an analyzer of C
#   tools/setup.sh fuzz     what the checks need, and atheris
#   tools/setup.sh native   only the native build, in the .venv that is there
#
# Idempotent, quick when there is nothing to do, and silent then. PYTHON=... chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
level=${1:?run, dev, docs, sanitize, fuzz or native}

venv=.venv
run_packages=(gcc libc6-dev libcap-dev uidmap)
sanitize_packages=(clang)
dev_packages=(busybox-static criu fish iproute2 iptables libseccomp-dev openssl passt runc skopeo slirp4netns strace tmux umoci util-linux zsh)

say() { printf '%s\n' "setup: $*" >&2; }
die() { say "$*"; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# quietly COMMAND...: its output only when it fails
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if [ $status != 0 ]; then
        cat "$log" >&2
        rm -f "$log"
        die "failed ($status): $*"
    fi
    rm -f "$log"
}

# -- system packages ---------------------------------------------------------------------------
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

need_packages() {
    local missing=() package
    for package; do installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]} (apt)"
    # Reading the password for sudo here keeps its question out of the quiet commands.
    [ "$(id -u)" = 0 ] || sudo -v || die "installing needs root: apt-get install ${missing[*]}"
    quietly apt update
    quietly apt install --no-install-recommends "${missing[@]}"
}

system_packages() {
    local wanted=("${run_packages[@]}")
    [ "$level" = run ] || wanted+=("${dev_packages[@]}")
    [ "$level" != sanitize ] || wanted+=("${sanitize_packages[@]}")
    if ! command -v dpkg-query >/dev/null; then
        command -v "${CC:-cc}" >/dev/null || die "no C compiler; on Debian this would install: ${wanted[*]}"
        return
    fi
    # Debian's own Python is readable by every user, which one below /root is not: the tests run as two users.
    if [ -z "${PYTHON:-}" ] && debian_python_is_enough; then wanted+=(python3 python3-venv python3-dev); fi
    need_packages "${wanted[@]}"
}

debian_python_is_enough() {
    local version=0
    if [ -x /usr/bin/python3 ]; then
        version=$(/usr/bin/python3 -c 'import sys; print(sys.version_info >= (3, 10))')
        [ "$version" = True ]
    else
        version=$(apt-cache show python3 2>/dev/null | sed -n 's/^Version: 3\.\([0-9]*\).*/\1/p' | head -n 1)
        [ -z "$version" ] || [ "$version" -ge 10 ] # no package lists yet: the first update brings them
    fi
}

# -- the virtual environment ---------------------------------------------------------------------
usable_python() { # 3.10 or later, able to make a venv and to compile against
    "$1" - <<'EOF' 2>/dev/null
import sys, sysconfig, os
assert sys.version_info >= (3, 10)
import venv, ensurepip
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
EOF
}

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} /usr/bin/python3 python3 python3.{14,13,12,11,10}; do
        if usable_python "$name"; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
        [ "$name" != "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not Python 3.10 or later with venv and its headers"
    done
    die "no Python 3.10 or later with venv and its headers (on Debian: apt install python3-venv python3-dev)"
}

fingerprint() { # of FILES... and of where this is
    { cat "$@"; pwd -P; uname -m; } | sha256sum | cut -d ' ' -f 1
}

up_to_date() { [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$venv/.stamp-$1"; }

make_venv() { # anew when the checkout was moved, or when another interpreter is asked for
    local place made_at="" made_for="" python
    place=$(pwd -P)
    if [ -e $venv/.stamp-venv ]; then { read -r made_at; read -r made_for; } <$venv/.stamp-venv || true; fi
    if [ "$made_at" = "$place" ] && [ "${PYTHON:-$made_for}" = "$made_for" ] && $venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    python=$(find_python)
    say "making $venv with $python"
    rm -rf $venv
    quietly "$python" -m venv $venv
    printf '%s\n' "$place" "${PYTHON:-}" >$venv/.stamp-venv
}

pip_install() {
    quietly env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore \
        $venv/bin/python -m pip install --quiet "$@"
}

python_packages() {
    local extra="" key
    case $level in
        run) ;;
        sanitize | fuzz) extra="[dev]" ;;
        *) extra="[$level]" ;;
    esac
    key=$(fingerprint pyproject.toml setup.py)
    up_to_date "$level" "$key" && return
    say "installing the Python packages of '$level'"
    up_to_date build "$key" || { pip_install 'setuptools>=77' 'cffi>=1.16' wheel; stamp build "$key"; }
    # Without isolation: one set of build tools, downloaded once; the native build below uses them, too.
    # "compat" is a plain .pth file: the import hook that is the default slows every start of the interpreter.
    pip_install --no-build-isolation --config-settings editable_mode=compat --editable ".$extra"
    [ "$level" != fuzz ] || guide_for_fuzzing
    stamp "$level" "$key"
    stamp native "$(native_key)"
}

guide_for_fuzzing() { # it has wheels for some Pythons only, and is built with clang elsewhere
    "$venv/bin/python" -m pip install --quiet --only-binary atheris atheris >/dev/null 2>&1 \
        || say "no atheris for this Python: hypothesis will choose the inputs alone"
}

# -- the native build -----------------------------------------------------------------------------
native_key() { fingerprint csrc/*.[ch] csrc/*.py setup.py tools/build_programs.py; }

native_is_there() {
    [ -e pycontainer/_native.abi3.so ] && [ -x pycontainer/kernel/programs/init ] \
        && [ -x pycontainer/kernel/programs/monitor ] && [ -x pycontainer/kernel/programs/reaper ] \
        && [ -x pycontainer/kernel/programs/scribe ] && [ -x pycontainer/kernel/programs/timens ]
}

native_build() {
    local key
    key=$(native_key)
    if up_to_date native "$key" && native_is_there; then return; fi
    say "compiling csrc/"
    quietly $venv/bin/python setup.py --quiet build_ext --inplace --force
    stamp native "$key"
}

# -- main -------------------------------------------------------------------------------------------
[ -w . ] || die "$(pwd) is not writable by $(id -un)"
[ ! -e $venv ] || [ -w $venv ] || die "$venv belongs to $(stat -c %U $venv): work as that user, or remove it"
umask 022 # another user runs the tests, too
exec 9>.setup.lock
flock 9
if [ "$level" != native ]; then
    system_packages
    make_venv
    python_packages
fi
native_build
