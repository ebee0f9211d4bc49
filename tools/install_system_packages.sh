#!/bin/sh
# Installs those of Debian's packages in requirements/debian.txt that are missing: `make system-packages`.
set -eu
cd "$(dirname "$0")/.."

missing=""
for package in $(sed 's/#.*//' requirements/debian.txt); do
    status="$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)"
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "this is not Debian: install with your own package manager:$missing" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root=sudo
echo "installing$missing ..."
$as_root apt-get update --quiet=2
# shellcheck disable=SC2086  # one word for each package
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $missing >/dev/null
