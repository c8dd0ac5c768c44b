"""Secrets of docker-compose.yml: completes .env, and writes a file of .secrets/ for each service.

    python deploy/docker/write_secrets.py

`make up` runs it. The folder is yours alone. Its files can be read by whoever reaches them, since
the users of the containers are others than you.
"""

import secrets
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2]
NEW = "change-me"


def read(path: Path) -> dict[str, str]:
    """The variables of an .env file."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "=" in line]
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def complete(folder: Path) -> dict[str, str]:
    """The variables of .env, to which those that only a newer .env.example has are added."""
    path, known = folder / ".env", read(folder / ".env")
    for name, value in read(folder / ".env.example").items():
        if name not in known:
            known[name] = secrets.token_urlsafe(24) if value == NEW else value
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{name}={known[name]}\n")
    return known


def files(env: dict[str, str]) -> dict[str, str]:
    """Name of a secret -> what its file holds."""
    kafka, models = env["VPP_KAFKA_SASL_PASSWORD"], env["VPP_MLFLOW_PASSWORD"]
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "postgres_password": env["POSTGRES_PASSWORD"],
        "app_password": env["VPP_APP_PASSWORD"],
        "read_password": env["VPP_READ_PASSWORD"],
        "grafana_password": env["GRAFANA_ADMIN_PASSWORD"],
        "database_url": f"postgresql://vpp_app:{env['VPP_APP_PASSWORD']}@timescaledb:5432/vpp",
        "kafka_password": kafka,
        "kafka_jaas": f'KafkaServer {{ {login} required user_vpp="{kafka}"; }};\n',
        "mlflow_password": models,
        "mlflow_secret_key": env["VPP_MLFLOW_SECRET_KEY"],
        "serve_token": env["VPP_SERVE_TOKEN"],
        "mlflow_uri": f"http://vpp:{models}@mlflow:5000",
    }


def main() -> None:
    """Write them."""
    place = FOLDER / ".secrets"
    place.mkdir(mode=0o700, exist_ok=True)
    place.chmod(0o700)
    for name, text in files(complete(FOLDER)).items():
        path = place / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o444 | 0o200)


if __name__ == "__main__":
    main()
