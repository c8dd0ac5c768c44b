"""The MLflow server behind a password: image `models` of the Dockerfile.

Files that MLFLOW_PASSWORD_FILE and MLFLOW_SECRET_KEY_FILE name hold the password of its user vpp
and the key that signs its sessions. Without them nothing is served. MLFLOW_HOSTS adds names under
which it is reached, with commas. MLFLOW_ARTIFACTS = s3://bucket/folder keeps the models in an
object store; AWS_* and MLFLOW_S3_ENDPOINT_URL say which, and with which key.
"""

import os
from pathlib import Path

USER, STORE = "vpp", Path(os.environ.get("MLFLOW_FOLDER", "/mlflow"))
HOSTS = "mlflow:5000,localhost:5000,127.0.0.1:5000"


def secret(variable: str) -> str:
    """The value in the file that a variable names."""
    name = os.environ.get(variable)
    if not name:
        raise SystemExit(f"{variable} is not set; expected the name of a file with the secret")
    try:
        text = Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SystemExit(f"{variable} = {name}: cannot be read: {error.strerror}") from None
    if len(text) < 12:
        raise SystemExit(f"{variable} = {name}: expected a secret of at least 12 characters")
    return text


def main() -> None:
    """Become the server."""
    login = Path(os.environ.get("TMPDIR", "/tmp")) / "login.ini"
    login.touch(mode=0o600)
    lines = [
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        f"database_uri = sqlite:///{STORE / 'login.db'}",
        f"admin_username = {USER}",
        f"admin_password = {secret('MLFLOW_PASSWORD_FILE').replace('%', '%%')}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
        "",
    ]
    login.write_text("\n".join(lines), encoding="utf-8")
    os.environ |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(login),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret("MLFLOW_SECRET_KEY_FILE"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # eight more processes for jobs that nobody here starts, which end long after a signal
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = ["mlflow", "server", "--app-name=basic-auth", "--host=0.0.0.0", "--workers=1"]
    command += [f"--port={os.environ.get('MLFLOW_PORT', '5000')}"]
    command += [f"--backend-store-uri=sqlite:///{STORE / 'mlflow.db'}"]
    artifacts = os.environ.get("MLFLOW_ARTIFACTS") or STORE / "artifacts"
    command += [f"--artifacts-destination={artifacts}"]
    more = os.environ.get("MLFLOW_HOSTS")
    command += [f"--allowed-hosts={HOSTS},{more}" if more else f"--allowed-hosts={HOSTS}"]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
