#!/usr/bin/env bash
# Installs what generates and scores worlds of classrooms, once, into a folder: numpy, scipy and numba.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
mkdir -p "$1"
cd "$1"

# What is there was made from this very list.
list=$(cat "$here/requirements.txt")
[ "$(cat installed 2>/dev/null)" = "$list" ] && exit
rm -rf venv installed

echo "installing numpy, scipy and numba"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

printf '%s' "$list" >installed
