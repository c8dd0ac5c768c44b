#!/bin/sh
# Runs once, when the database's volume is new: the scripts' role owns just its schema, Grafana's role only reads it.
# docker-compose.yml hands over POSTGRES_USER, POSTGRES_DB, and in files VPP_APP_PASSWORD and VPP_READ_PASSWORD.
set -e
if [ -n "$VPP_APP_PASSWORD_FILE" ]; then VPP_APP_PASSWORD=$(cat "$VPP_APP_PASSWORD_FILE"); fi
if [ -n "$VPP_READ_PASSWORD_FILE" ]; then VPP_READ_PASSWORD=$(cat "$VPP_READ_PASSWORD_FILE"); fi
: "${VPP_APP_PASSWORD:?expected a password in it, or in the file of VPP_APP_PASSWORD_FILE}"
: "${VPP_READ_PASSWORD:?expected a password in it, or in the file of VPP_READ_PASSWORD_FILE}"
export VPP_APP_PASSWORD VPP_READ_PASSWORD
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" <<'SQL'
\getenv app_password VPP_APP_PASSWORD
\getenv read_password VPP_READ_PASSWORD
\getenv database POSTGRES_DB
CREATE ROLE vpp_app LOGIN PASSWORD :'app_password';
CREATE ROLE vpp_read LOGIN PASSWORD :'read_password';
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO vpp_app;
GRANT CONNECT ON DATABASE :"database" TO vpp_read;
CREATE SCHEMA vpp AUTHORIZATION vpp_app;
ALTER ROLE vpp_app SET search_path = vpp, public;
ALTER ROLE vpp_read SET search_path = vpp, public;
ALTER ROLE vpp_read SET default_transaction_read_only = on;
ALTER ROLE vpp_read SET statement_timeout = '30s';
GRANT USAGE ON SCHEMA vpp TO vpp_read;
ALTER DEFAULT PRIVILEGES FOR ROLE vpp_app IN SCHEMA vpp GRANT SELECT ON TABLES TO vpp_read;
SQL
