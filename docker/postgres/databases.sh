#!/bin/bash
# One database for each user of Postgres, with a login that reaches no other; run once, when the cluster is made.
set -e
for name in airflow mlflow feast warehouse; do
    password="${name^^}_DB_PASSWORD"
    : "${!password:?}"
    psql --quiet -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres -v name="$name" <<SQL
\getenv password $password
create role :"name" login password :'password';
create database :"name" owner :"name";
revoke connect on database :"name" from public;
SQL
done
