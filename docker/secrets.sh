#!/bin/sh
# Writes fresh random values into .env (mode 600) for every secret that docker-compose.yml demands and .env does not have yet.
set -e
cd "$(dirname "$0")/.."
umask 077
touch .env
chmod 600 .env
[ -z "$(tail -c 1 .env)" ] || echo >>.env
for name in $(sed 's/#.*//' docker-compose*.yml | grep -o '\${[A-Z_]*:?run make secrets}' | tr -d '${' | cut -d: -f1 | sort -u); do
    if ! grep -q "^$name=." .env; then
        sed -i "/^$name=\$/d" .env
        echo "$name=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')" >>.env
        echo "made $name"
    fi
done
