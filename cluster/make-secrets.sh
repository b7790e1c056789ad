#!/bin/sh
# Make the secrets of compose.yaml: cluster/make-secrets.sh [FOLDER]
#
# Random ones, in files that containers without root can read, in a folder that only you can enter. Never over others:
# Postgres and MLflow keep the passwords that they were first started with.
set -eu

folder=${1:-$(dirname "$0")/secrets}
if [ -e "$folder" ]; then
    echo "$folder is there already; expected no such folder" >&2
    exit 1
fi

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

umask 077
made="$folder.part"
rm -rf "$made"
mkdir -p "$made"

s3_key=$(random | cut -c1-20)
s3_secret=$(random)
mlflow_password=$(random)

random >"$made/ray_token"
random >"$made/postgres_password"
random >"$made/mlflow_session_key"
printf '%s' "$mlflow_password" >"$made/mlflow_admin_password"
cat >"$made/mlflow_credentials" <<END
[mlflow]
mlflow_tracking_username = admin
mlflow_tracking_password = $mlflow_password
END
cat >"$made/s3_credentials" <<END
[default]
aws_access_key_id = $s3_key
aws_secret_access_key = $s3_secret
END
cat >"$made/s3_identities" <<END
{"identities": [{"name": "mas-ray",
                 "credentials": [{"accessKey": "$s3_key", "secretKey": "$s3_secret"}],
                 "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END

chmod 0444 "$made"/*
mv "$made" "$folder"
echo "made $folder"
