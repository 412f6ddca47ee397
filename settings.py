"""Every setting of Portrait, read from the environment (`PORTRAIT_*`, or a `.env` file): the bottom of the house.

A *house* is one shop's whole state in one folder (`home`): landing files, warehouse, features, models, reports, logs. Nothing outside it
is written. `portrait up` points the link `var/current` at the house in use, so that later commands find the same one. A house whose state
lies on servers says where in its `house.env`, which `portrait up` writes once; the environment wins over it, and it over `.env`.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent
CURRENT_HOUSE = ROOT / "var" / "current"


def _default_home() -> Path:
    return CURRENT_HOUSE.resolve() if CURRENT_HOUSE.exists() else ROOT / "var" / "shop"


class Settings(BaseSettings):
    """One frozen set of values; every variable stands in `.env.example`."""

    model_config = SettingsConfigDict(env_prefix="PORTRAIT_", env_file=ROOT / ".env", extra="ignore", frozen=True)

    home: Path = Field(default_factory=_default_home, description="the house: all state of one shop")
    profile: Literal["embedded", "services", "compose"] = Field(
        "embedded", description="files of the house; Postgres, Redis and Celery beside it; or those that docker-compose.yml starts"
    )
    host: str = Field("127.0.0.1", description="address every service binds to")
    public_host: str = Field("", description="name by which people's browsers reach the services; empty: as `host`")
    airflow_host: str = Field("", description="where Airflow's API answers the other services; empty: as `host`")
    model_server_host: str = Field("", description="where the model server answers the other services; empty: as `host`")
    feast_host: str = Field("", description="where Feast's feature server answers the other services; empty: as `host`")
    api_host: str = Field("", description="where the API answers the other services; empty: as `host`")
    mlflow_host: str = Field("", description="where MLflow answers the other services; empty: as `host`")
    airflow_public_url: str = Field("", description="address by which browsers reach Airflow, a proxy's; empty: by its own port")
    airflow_port: int = 8080
    model_server_port: int = 8500
    model_server_rest_port: int = 8501
    feast_port: int = 6566
    feast_ui_port: int = 8888
    api_port: int = 8000
    mlflow_port: int = 5000
    postgres_port: int = Field(5433, description="of the Postgres server that `portrait up` starts for the profile `services`")
    redis_port: int = Field(6380, description="of the Redis server that `portrait up` starts for the profile `services`")
    api_rate: float = Field(200.0, gt=0, description="requests a second that one key of the API may send for long")
    api_burst: int = Field(400, ge=1, description="requests that one key may send at once")
    api_in_flight: int = Field(16, ge=1, description="requests that the API works on at once; what comes beyond is refused with 503")
    seed: int = Field(7, description="seed of the simulated shop and of every training run")
    sequence_length: int = Field(50, ge=2, description="newest events of a user that are kept as a feature")
    dbt_threads: int = Field(2, ge=1)
    warehouse_memory: str = Field("3GB", pattern=r"^\d+(\.\d+)?(MB|GB)$", description="above this the warehouse's work spills to disk")
    warehouse_url: str = Field(
        "", description="postgresql://user:password@host:port/database where dbt builds; empty: the house's DuckDB file"
    )
    airflow_database_url: str = Field("", description="SQLAlchemy URL of Airflow's metadata; empty: a SQLite file of the house")
    mlflow_database_url: str = Field("", description="SQLAlchemy URL of MLflow's store; empty: a SQLite file of the house")
    registry_url: str = Field("", description="SQLAlchemy URL of Feast's registry; empty: a SQLite file of the house")
    broker_url: str = Field("", description="redis://:password@host:port/1 of Celery; empty: Airflow's LocalExecutor, without workers")
    default_workers: int = Field(1, ge=1, description="Celery workers of the queue `default`, three tasks at a time each")
    gpu_workers: int = Field(
        1, ge=1, description="Celery workers of the queue `gpu`, one task at a time each; as many trainings run at once"
    )
    admin_password: str = Field("", description="of Airflow's login `admin`; empty: generated once, and told by `portrait up`")
    login: Literal["simple", "fab"] = Field("simple", description="who may enter Airflow: one generated admin, or users with roles")
    online_store: Literal["sqlite", "redis"] = Field("sqlite", description="where online features live: a file of the house, or Redis")
    redis: str = Field("127.0.0.1:6379,db=0", description="Redis as Feast writes it: host:port, then options such as db=0,password=...")
    clock: Literal["data", "wall"] = Field("data", description="now, for online reads: the newest time known from records, or UTC time")
    training_threads: int = Field(2, ge=1, description="CPU threads of one training task")
    training_processes: int = Field(
        1, ge=1, description="workers of the queue `gpu` that train the encoder together, each on its share of every batch, on JAX"
    )
    training_users_in_memory: int = Field(
        200_000, ge=1, description="above this, histories are trained on from disk, and models are judged on so many users drawn by seed"
    )
    uplift_adjust: bool = Field(False, description="learn effects from campaigns that were not randomised too, by estimated propensities")
    signing_key_file: str = Field("", description="private key that signs published models; empty: the house's own, made once")
    gate_rules: str = Field("", description="TOML file with the rules of the models' gate; empty: training/gate.toml")
    fraud_costs: str = Field("", description="TOML file with what decisions about orders cost; empty: training/fraud.toml")
    recommend_rules: str = Field("", description="TOML file with the rules of recommendation; empty: serving/recommend.toml")
    credit_augmentation: bool = Field(False, description="teach the credit model drawn defaults too, where they help; costs minutes")
    credit_policy: str = Field("", description="TOML file with the credit policy: thresholds, points, reasons; empty: training/credit.toml")
    release_rules: str = Field("", description="TOML file with the rules of a release; empty: serving/release.toml")
    segment_rules: str = Field("", description="TOML file with segments by rules; empty: serving/segments.toml")
    least_segment: int = Field(20, ge=1, description="a segment of fewer customers is never shown or handed out")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        """Services run in other folders than the command that starts them."""
        return home.expanduser().absolute()

    @property
    def landing_dir(self) -> Path:
        """`<table>/ds=YYYY-MM-DD/part-0.parquet`, as a source delivered it."""
        return self.home / "landing"

    @property
    def live_dir(self) -> Path:
        """`ds=YYYY-MM-DD/*.parquet`: events taken by `POST /v1/events`; no delivery of a source replaces them."""
        return self.landing_dir / "live_events"

    @property
    def truth_dir(self) -> Path:
        """What the simulated shop drew behind its records; only tests, benchmarks and `training/oracle.py` may read it."""
        return self.home / "truth"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file. One process at a time may open it; every task that does runs in Airflow's pool `warehouse`."""
        return self.home / "warehouse.duckdb"

    @property
    def offline_dir(self) -> Path:
        """Published marts, `<mart>/day=YYYY-MM-DD/part-0.parquet`: all that Feast, training and serving ever read."""
        return self.home / "offline"

    @property
    def feast_dir(self) -> Path:
        """Registry (`registry.db`) and online store (`online.db`)."""
        return self.home / "feast"

    @property
    def quality_dir(self) -> Path:
        """Gate results (`results/*.json`) and data docs (`docs/index.html`)."""
        return self.home / "quality"

    @property
    def candidates_dir(self) -> Path:
        """`<model>/<run>/`: what a training run leaves, before anybody serves it."""
        return self.home / "candidates"

    @property
    def models_dir(self) -> Path:
        """`<model>/<version>/`: published SavedModels, the model server's base path."""
        return self.home / "models"

    @property
    def indexes_dir(self) -> Path:
        """`<model>-<version>.faiss`: indexes over the items of large published models; each can be built again from the model."""
        return self.home / "indexes"

    @property
    def releases_dir(self) -> Path:
        """`<model>.json`: which version is stable, which one is on trial and for how many users."""
        return self.home / "releases"

    @property
    def signing_key(self) -> Path:
        """Ed25519 key of whoever publishes; its public half (`.pub`) beside it is all that the model server reads."""
        return Path(self.signing_key_file).expanduser().absolute() if self.signing_key_file else self.home / "secrets" / "signing_key.pem"

    @property
    def campaigns_dir(self) -> Path:
        """Offer plans: `<campaign>/plan.parquet` and `plan.json`."""
        return self.home / "campaigns"

    @property
    def logs_dir(self) -> Path:
        """One log per service."""
        return self.home / "logs"

    @property
    def house_file(self) -> Path:
        """`PORTRAIT_*` lines that belong to this house alone: its profile and where its servers are, passwords included."""
        return self.home / "house.env"

    @property
    def restoring_file(self) -> Path:
        """Stands while `portrait restore` fills this house, and names the backup; a house that has one is not whole."""
        return self.home / ".restoring"

    @property
    def model_server_target(self) -> str:
        return f"{self.model_server_host or self.host}:{self.model_server_port}"

    @property
    def browsed_host(self) -> str:
        """The host in addresses that people are told."""
        return self.public_host or self.host

    @property
    def airflow_url(self) -> str:
        return f"http://{self.airflow_host or self.host}:{self.airflow_port}"

    @property
    def airflow_browsed_url(self) -> str:
        """Where people find Airflow, and where its login sends them back to."""
        return self.airflow_public_url.rstrip("/") or f"http://{self.browsed_host}:{self.airflow_port}"

    @property
    def feast_url(self) -> str:
        return f"http://{self.feast_host or self.host}:{self.feast_port}"

    @property
    def api_url(self) -> str:
        return f"http://{self.api_host or self.host}:{self.api_port}"

    @property
    def mlflow_url(self) -> str:
        """The MLflow service; runs are written to `mlflow_uri`."""
        return f"http://{self.mlflow_host or self.host}:{self.mlflow_port}"

    @property
    def airflow_database(self) -> str:
        return self.airflow_database_url or f"sqlite:///{self.home / 'airflow' / 'airflow.db'}"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking store, written directly; the MLflow service shows the same one."""
        return self.mlflow_database_url or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def registry(self) -> str:
        """Feast's SQL registry."""
        return self.registry_url or f"sqlite:///{self.feast_dir.resolve() / 'registry.db'}"


@cache
def get_settings() -> Settings:
    """The settings of this process; tests that change the environment call `get_settings.cache_clear()`."""
    settings = Settings()
    if not settings.house_file.exists():
        return settings
    return Settings(_env_file=(ROOT / ".env", settings.house_file))  # type: ignore[call-arg]
