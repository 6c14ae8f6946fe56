#!/bin/sh
# Installs what the tests need beside npm packages: a redis-server binary. The tests start their own servers on loopback;
# a service that the package brings is not left running.
set -eu

if command -v redis-server >/dev/null 2>&1; then
  echo "redis-server is there: $(redis-server --version | cut -d' ' -f1-3)"
  exit 0
fi

how_to() {
  echo "The tests need the program redis-server (6.2 or newer) on PATH, and it could not be installed: $1" >&2
  echo "Install it, then run this again:" >&2
  echo "  Debian, Ubuntu   sudo apt-get install redis-server" >&2
  echo "  Fedora           sudo dnf install redis" >&2
  echo "  Alpine           sudo apk add redis" >&2
  echo "  macOS            brew install redis" >&2
  exit 1
}

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else
    command -v brew >/dev/null 2>&1 || how_to "this user is not root, and sudo would ask for a password"
  fi
fi

if command -v apt-get >/dev/null 2>&1; then
  $as_root apt-get update -qq || how_to "apt-get update failed"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null ||
    how_to "apt-get install failed"
  if command -v systemctl >/dev/null 2>&1; then $as_root systemctl disable --now redis-server >/dev/null 2>&1 || true; fi
elif command -v dnf >/dev/null 2>&1; then
  $as_root dnf install -y -q redis || how_to "dnf install failed"
elif command -v apk >/dev/null 2>&1; then
  $as_root apk add -q redis || how_to "apk add failed"
elif command -v brew >/dev/null 2>&1; then
  brew install -q redis || how_to "brew install failed"
else
  how_to "no known package manager was found"
fi

command -v redis-server >/dev/null 2>&1 || how_to "the package was installed, and redis-server is still not on PATH"
echo "redis-server installed: $(redis-server --version | cut -d' ' -f1-3)"
