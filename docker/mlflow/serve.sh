#!/bin/sh
# MLflow with basic authentication, on Postgres and an object store. Passwords come from files and are on no command line.
set -eu

secret() {
    cat "/run/secrets/$1"
}

PGPASSWORD=$(secret postgres_password)
MLFLOW_AUTH_ADMIN_PASSWORD=$(secret mlflow_admin_password)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret mlflow_session_key)
export PGPASSWORD MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
export MLFLOW_AUTH_CONFIG_PATH=/opt/mas-ray/basic_auth.ini

# A worker takes seconds to import what it needs; uvicorn would replace it after five, again and again.
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 \
    --uvicorn-opts "--timeout-worker-healthcheck 120" "$@"
