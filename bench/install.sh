#!/bin/sh
# Installs the programs that the benchmark compares with, from Debian's or Ubuntu's packages, and leaves no service running that was not
# running before. Does nothing where all are there.
set -eu

missing=""
for program in nginx apache2 redis-server openssl wrk; do
  command -v "$program" >/dev/null 2>&1 || [ -x "/usr/sbin/$program" ] || missing="$missing $program"
done
[ -e /usr/lib/apache2/modules/mod_oauth2.so ] || missing="$missing libapache2-mod-oauth2"
if [ -z "$missing" ]; then exit 0; fi

if ! command -v apt-get >/dev/null 2>&1; then
  echo "The benchmark needs:$missing. This system has no apt-get: install them by its own means, then run this again." >&2
  exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo -n"
echo "installing:$missing" >&2
timeout 300 $as_root apt-get update -qq
# shellcheck disable=SC2086
timeout 600 $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
if [ -d /run/systemd/system ]; then
  for program in nginx apache2 redis-server; do
    case "$missing" in *"$program"*) $as_root systemctl disable --now "$program" >/dev/null 2>&1 || true ;; esac
  done
fi
