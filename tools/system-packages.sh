#!/bin/sh
# Install Debian or Ubuntu packages that are missing: as root by apt-get, else by telling the user.
#
# usage: system-packages.sh [PROGRAM=]PACKAGE...
#        A package is missing when its PROGRAM (its own name, unless given) is not on the path.
#        Packages without a program of their name (python3.11-venv) are asked for from dpkg.
set -eu

missing=""
for item in "$@"; do
    program=${item%%=*}
    package=${item#*=}
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null 2>&1 && continue
    dpkg -s "$package" >/dev/null 2>&1 && continue
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing programs; install them with: sudo apt-get install -y$missing" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# The tests start the programs themselves: no service of these packages may take a port of this machine.
policy=/usr/sbin/policy-rc.d
if [ -e "$policy" ]; then
    trap 'rm -f "$log"' EXIT
else
    trap 'rm -f "$log" "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
# shellcheck disable=SC2086 # a list of words on purpose
{ apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "apt-get could not install$missing" >&2
    exit 1
}
