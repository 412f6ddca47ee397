#!/bin/bash
# The containers' state from a backup, into empty volumes; what runs must be stopped first: docker/restore.sh FOLDER
set -euo pipefail
compose=${COMPOSE:-docker-compose}
if [ ! -f "$1/manifest.json.sha256" ]; then
    echo "A backup is a folder that \`make backup\` wrote. $1 has no manifest.json.sha256. Name another one." >&2
    exit 1
fi
$compose up -d postgres redis
for _ in $(seq 60); do
    ready=0
    $compose exec -T postgres pg_isready --quiet --host=127.0.0.1 --username=postgres --dbname=warehouse && $compose exec -T redis redis-cli ping >/dev/null && ready=1 && break
    sleep 1
done
if [ $ready = 0 ]; then
    echo "Postgres and Redis must answer before they are filled. One did not within a minute. See \`$compose logs postgres redis\`." >&2
    exit 1
fi
tar -C "$1" -c . |
    $compose run --rm -T backup sh -c 'rm -rf /tmp/* && mkdir /tmp/backup && tar -C /tmp/backup -x && portrait restore /tmp/backup && rm -rf /tmp/*' >&2
echo "make up PROFILE=compose starts it"
