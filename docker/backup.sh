#!/bin/bash
# Everything stateful of the containers, secrets included, into one folder of this machine, while they run: docker/backup.sh FOLDER
set -euo pipefail
compose=${COMPOSE:-docker-compose}
to=${1%/}
partial=$(dirname "$to")/.$(basename "$to").partial
if [ -e "$to" ]; then
    echo "A backup gets a folder of its own. $to exists. Name one that does not." >&2
    exit 1
fi
umask 077
rm -rf "$partial"
mkdir -p "$partial"
$compose run --rm -T backup sh -c 'd=$(mktemp -d) && trap "rm -rf $d" EXIT && portrait backup "$d/whole" >/dev/null && tar -C "$d/whole" -c .' |
    tar -C "$partial" --no-same-owner -xp
mv "$partial" "$to"
echo "$to holds every secret of the house"
