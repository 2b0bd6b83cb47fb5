#!/usr/bin/env bash
# Makes the virtual environment DIRECTORY with backupd and all that its check needs.
# Usage: tests/venv.sh DIRECTORY [PYTHON]
set -euo pipefail

directory=$1
chosen=${2:-}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${chosen:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    local version
    version=$("${chosen:-python3}" --version 2>/dev/null || true)
    echo "backupd needs Python 3.11 or newer, but ${chosen:-python3} is ${version:-missing};" \
        "install one, or name it: make PYTHON=/path/to/python3 …" >&2
    return 1
}

# Debian's Python makes no virtual environments without a package of its own.
ensure_venv() {
    if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        return
    fi
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "Python's venv module is missing; run: sudo apt-get install python$version-venv" >&2
        return 1
    fi
    echo "installing python$version-venv" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q </dev/null >/dev/null
    apt-get install -q -y --no-install-recommends "python$version-venv" </dev/null >/dev/null
}

python=$(find_python)
ensure_venv "$python"
if ! is_new_enough "$directory/bin/python" || ! "$directory/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "making $directory with $("$python" --version)"
    "$python" -m venv --clear "$directory"
fi
"$directory/bin/python" -m pip install -qq --disable-pip-version-check -e '.[dev]' </dev/null
