#!/bin/sh
# Print the path of uv, installing it under .uv/ first where it is missing. Only the path goes to standard output.
#
# Ways, in this order: uv on the PATH; .uv/ from before; a virtual environment of its own; pip into a folder of its own;
# where Debian's Python came without pip and venv, uv's wheel unpacked by the standard library; and, where even the
# certificates to fetch it are missing, the system packages (as root, or by sudo).
set -eu

UV_VERSION=0.13.9
here=$(cd "$(dirname "$0")/.." && pwd)
home="$here/.uv"

say() { printf '%s\n' "$*" >&2; }

if command -v uv >/dev/null 2>&1; then
    command -v uv
    exit 0
fi

find_uv() {
    for candidate in "$home/bin/uv" "$home/target/bin/uv"; do
        if [ -x "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

python=
for candidate in python3 python3.11 python3.12 python3.13; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "Countwheel needs Python 3.11 or later, and there is none on the PATH."
    exit 1
fi

by_venv() {
    "$python" -m venv "$home" >/dev/null 2>&1 &&
        "$home/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2
}

by_pip() {
    "$python" -m pip install --quiet --disable-pip-version-check --target "$home/target" "uv==$UV_VERSION" >&2
}

by_wheel() {
    "$python" "$here/tools/fetch_uv.py" "$UV_VERSION" "$home/bin/uv" 2>/dev/null
}

by_system_package() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null 2>&1; then sudo="sudo -n"; else return 1; fi
    say "Installing Debian's python3-venv and ca-certificates (this Python came without) ..."
    # shellcheck disable=SC2086 # $sudo is a command with its option, or nothing
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq python3-venv ca-certificates; } >/dev/null 2>&1 &&
        rm -rf "$home" && by_venv
}

if find_uv; then exit 0; fi
say "Installing uv $UV_VERSION under .uv/ (once) ..."
rm -rf "$home"
by_venv || { rm -rf "$home" && "$python" -m pip --version >/dev/null 2>&1 && by_pip; } || by_wheel || by_system_package || {
    say "uv could not be installed: this Python has neither venv nor pip, and https://pypi.org cannot be reached."
    say "Install what is missing (on Debian: apt-get install python3-venv ca-certificates) and run make again."
    exit 1
}
find_uv
