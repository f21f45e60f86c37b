#!/usr/bin/env bash
# Installs the peers that no Debian package brings, once, into a folder:
#
#   venv/          aiortc
#   node_modules/  what WHIP and WHEP need, and the WHEP server
#   whip/          Debian's WHIP server; its package refuses to stand beside a node that is not Debian's
set -euo pipefail
here=$(realpath "$(dirname "$0")")
mkdir -p "$1"
cd "$1"

# What is there was made from these very lists.
list=$(cat "$here/requirements.txt" "$here/package.json")
[ "$(cat installed 2>/dev/null)" = "$list" ] && exit
rm -rf venv node_modules whip installed

echo "installing aiortc"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

echo "installing the WHIP and WHEP servers"
cp "$here/package.json" .
npm install --silent --ignore-scripts --no-audit --no-fund --no-package-lock
# The only part that would have to be built is a transport to Janus that is not used here.
echo 'exports.createSocket = null;' >node_modules/unix-dgram/lib/unix_dgram.js
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
get() { (cd "$download" && apt-get -qq -o APT::Sandbox::User=root download simple-whip-server); }
get 2>/dev/null || { apt-get update -qq && get; }
dpkg-deb -x "$download"/simple-whip-server_*.deb "$download/unpacked"
mkdir whip
cp "$download"/unpacked/usr/share/simple-whip-server/src/{server,whip-janus}.js whip/

printf '%s' "$list" >installed
