#!/bin/sh
# Makes an empty database cluster in /data and serves it; the password comes from POSTGRES_PASSWORD and reaches no file.
set -eu
PATH=/usr/lib/postgresql/15/bin:$PATH
export PGDATA=/data/pgdata
mkfifo /data/password
(printf '%s' "$POSTGRES_PASSWORD" > /data/password) &
initdb --username=postgres --auth-host=scram-sha-256 --auth-local=reject --pwfile=/data/password --encoding=UTF8 --locale=C.UTF-8 >/dev/null
rm /data/password
echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
exec postgres -c listen_addresses='*' -c unix_socket_directories=/data -c fsync=off -c max_connections=200
