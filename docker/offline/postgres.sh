#!/bin/bash
# What the entry point of the official Postgres image does, for Debian's packages: the cluster and its databases, whole or not at all, then
# the server "$@".
set -euo pipefail
export PGHOST=/tmp # the package's own folder for sockets is root's once it lies in memory
volume=/var/lib/postgresql/data
if [ ! -e "$volume/cluster" ]; then
    rm -rf "$volume/new"
    export PGDATA=$volume/new
    initdb --username=postgres --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 \
        --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:?}") >/dev/null
    printf "listen_addresses = '*'\nunix_socket_directories = '/tmp'\n" >>"$PGDATA/postgresql.conf"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --silent -o "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        bash "$script"
    done
    pg_ctl --wait --silent stop
    mv "$PGDATA" "$volume/cluster"
fi
export PGDATA=$volume/cluster
exec "$@"
