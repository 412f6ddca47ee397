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
$compose run --rm -T backup sh -c 'rm -rf /tmp/* && portrait backup /tmp/backup >/dev/null && tar -C /tmp/backup -c . && rm -rf /tmp/*' |
    tar -C "$partial" --no-same-owner -xp
(cd "$partial" && sha256sum --check --quiet manifest.json.sha256)
sync "$partial"
mv "$partial" "$to"
echo "$to holds every secret of the house"
