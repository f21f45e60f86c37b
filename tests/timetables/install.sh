#!/usr/bin/env bash
# Installs what writes and reads iCalendar files for the tests, once, into a folder:
#
#   venv/          icalendar, khal, Radicale, and recurring-ical-events, which says what is right
#   node_modules/  ical.js
set -euo pipefail
here=$(realpath "$(dirname "$0")")
mkdir -p "$1"
cd "$1"

# What is there was made from these very lists.
list=$(cat "$here/requirements.txt" "$here/package.json")
[ "$(cat installed 2>/dev/null)" = "$list" ] && exit
rm -rf venv node_modules installed

echo "installing icalendar, khal, Radicale and recurring-ical-events"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

echo "installing ical.js"
cp "$here/package.json" .
npm install --silent --ignore-scripts --no-audit --no-fund --no-package-lock

printf '%s' "$list" >installed
