"""docker-compose.yml holds what a company would ask of every service: no Docker is needed to see it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.local import services as house_services
from settings import ROOT, Settings, get_settings

Services = dict[str, dict[str, Any]]
FILES = ("docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.offline.yml")
ONE_SHOT = {"init"}
BY_HAND = {"backup"}
#: Variables that are no settings: images, the code's revision, which `make images` gives, and the folder that containers see as /files.
OWN_VARIABLES = {"BASE_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE", "REVISION", "HOST_FILES"}
#: Settings that a container has no use for: of other profiles, or said by the file itself.
NOT_PASSED = {"FEAST_UI_PORT", "POSTGRES_PORT", "REDIS_PORT", "SIGNING_KEY_FILE"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")


def long_running(services: Services) -> Services:
    return {name: service for name, service in services.items() if name not in ONE_SHOT | BY_HAND}


def text_of(file: str) -> str:
    """Without comments, which may speak of variables too."""
    return re.sub(r"(^|\s)#.*", "", (ROOT / file).read_text(encoding="utf-8"), flags=re.M)


def test_every_long_running_service_has_a_health_check_and_comes_back_after_a_crash(services: Services) -> None:
    assert [name for name, service in long_running(services).items() if not service.get("healthcheck", {}).get("test")] == []
    assert [name for name, service in long_running(services).items() if service.get("restart") != "unless-stopped"] == []
    assert {services[name]["restart"] for name in ONE_SHOT | BY_HAND} == {"no"}
    assert all(services[name]["profiles"] == ["tools"] for name in BY_HAND)  # `up` starts them not


def test_no_service_is_root_or_may_become_it(services: Services) -> None:
    for name, service in services.items():
        assert str(service["user"]).split(":")[0] not in ("", "0", "root"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "cap_add" not in service, name


def test_every_system_is_read_only_and_every_service_has_a_memory_limit(services: Services) -> None:
    assert [name for name, service in services.items() if service.get("read_only") is not True] == []
    assert [name for name, service in services.items() if not service.get("mem_limit")] == []


def test_ports_are_published_on_loopback_alone_and_are_the_settings_own(services: Services) -> None:
    numbers = {f"PORTRAIT_{name.upper()}": str(field.default) for name, field in Settings.model_fields.items() if name.endswith("_port")}
    for name, service in services.items():
        for port in service.get("ports", []):
            address, _, rest = port.partition(":")
            assert address == "127.0.0.1", name
            if "monitoring" in service.get("profiles", []):
                continue
            variable, default, inside = re.fullmatch(r"\$\{(\w+):-(\d+)\}:(\d+|\$\{\1:-\2\})", rest).groups()
            assert default == numbers[variable], name
            assert inside == (default if variable not in service.get("environment", {}) else f"${{{variable}:-{default}}}"), name
    assert not {"postgres", "redis"} & {name for name, service in services.items() if "ports" in service}


def test_workers_get_the_time_to_end_what_they_run(services: Services) -> None:
    assert services["worker-default"]["stop_grace_period"] == "5m"
    assert services["worker-gpu"]["stop_grace_period"] == "15m"
    assert all(services[name]["init"] for name in ("worker-default", "worker-gpu"))  # children that were left behind are reaped


def test_every_secret_must_be_given_and_no_secret_has_a_default() -> None:
    for file in FILES:
        for name, rule in VARIABLE.findall(text_of(file)):
            if re.search(r"PASSWORD|SECRET|KEY|TOKEN", name):
                assert rule == ":?run make secrets", (file, name)
            else:
                assert rule.startswith(":-") and (len(rule) > 2 or name == "REVISION"), (file, name)


def test_every_variable_is_a_secret_a_setting_or_has_its_rule_here() -> None:
    listed = set(re.findall(r"^#?(PORTRAIT_\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.M))
    for file in FILES:
        for name, rule in VARIABLE.findall(text_of(file)):
            assert rule == ":?run make secrets" or name in listed | OWN_VARIABLES, (file, name)


def test_no_password_stands_in_a_file(compose: dict[str, Any]) -> None:
    """In URLs, Redis' options and variables alike: what follows is a variable."""
    for file in FILES:
        assert re.findall(r"(?:://\w*:|password=|PASSWORD: |requirepass )(?!\$)[^\s\"']+", text_of(file)) == []


def test_what_the_containers_are_told_are_settings(services: Services) -> None:
    known = {f"PORTRAIT_{name.upper()}" for name in Settings.model_fields}
    for name, service in services.items():
        told = {variable for variable in service.get("environment", {}) if variable.startswith("PORTRAIT_")}
        assert told <= known, name


def test_every_setting_reaches_the_containers(services: Services) -> None:
    """`VARIABLE:` alone takes it from .env or the shell, and leaves the default where neither has it."""
    told = services["worker-gpu"]["environment"]
    published = {name for service in services.values() for port in service.get("ports", []) for name in re.findall(r"PORTRAIT_\w+", port)}
    known = {f"PORTRAIT_{name.upper()}" for name in Settings.model_fields}
    assert known - told.keys() - published == {f"PORTRAIT_{name}" for name in NOT_PASSED}
    assert all(value is None or value for value in told.values())


def test_the_settings_of_the_containers_are_valid_and_name_the_services(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(services["worker-default"], monkeypatch)
    assert settings.profile == "compose" and settings.login == "fab" and settings.online_store == "redis"
    hosts = {settings.airflow_host, settings.model_server_host, settings.feast_host, settings.api_host, settings.mlflow_host}
    urls = (settings.airflow_database, settings.mlflow_uri, settings.registry, settings.warehouse_url, settings.broker_url)
    servers = {re.search(r"@([^:/]+)", url).group(1) for url in urls} | {settings.redis.split(":")[0]}
    assert hosts | servers <= services.keys()
    databases = {re.search(r"/(\w+)$", url).group(1) for url in urls[:4]}
    made = re.search(r"for name in ([\w ]+); do", (ROOT / "docker" / "postgres" / "databases.sh").read_text()).group(1)
    assert databases == set(made.split()) == {"airflow", "mlflow", "feast", "warehouse"}


def test_each_command_names_a_service_of_the_house(services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_of(services["worker-default"], monkeypatch, PORTRAIT_HOME=str(tmp_path), PORTRAIT_GPU_WORKERS="2")
    named = {service["command"][2] for service in services.values() if service.get("command", [])[:2] == ["portrait", "service"]}
    assert named | {"model-server"} == {service.name for service in house_services.services(settings)}


def test_the_model_server_has_the_flags_of_the_houses_own(services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But for the key by which ours checks signatures, a flag that TensorFlow Serving has not, and for merging requests: it would pad a
    history with its first event, where ours pads with what the models skip."""
    left_out = ("--verification_key_file", "--enable_batching", "--batching_parameters_file")
    settings = settings_of(services["worker-default"], monkeypatch, PORTRAIT_HOME=str(tmp_path))
    ours = next(service for service in house_services.services(settings) if service.name == "model-server").arguments[3:]
    expected = {flag.replace(str(tmp_path), "/house") for flag in ours if not flag.startswith(left_out)}
    assert set(services["model-server"]["command"]) == expected


def test_who_needs_not_write_the_house_cannot_and_secrets_of_the_warehouse_stay_with_airflow(services: Services) -> None:
    assert [name for name, service in services.items() if "house:/house:ro" in service.get("volumes", [])] == ["model-server", "feast"]
    owners = {str(service["user"]) for service in services.values() if "house:/house" in service.get("volumes", [])}
    assert services["model-server"]["user"] not in owners  # so that files of mode 600 are not for it
    knowing = {name for name, service in services.items() if "PORTRAIT_WAREHOUSE_URL" in service.get("environment", {})}
    assert not {"api", "feast", "mlflow", "model-server", "prometheus", "grafana"} & knowing


def test_every_volume_is_declared_and_every_mounted_file_is_there(compose: dict[str, Any]) -> None:
    used = {mount.split(":")[0] for service in compose["services"].values() for mount in service.get("volumes", [])}
    used.discard("${HOST_FILES")
    assert {name for name in used if not name.startswith(".")} == compose["volumes"].keys()
    assert [name for name in used if name.startswith(".") and not (ROOT / name).exists()] == []


def test_dependencies_exist_and_can_come_true(services: Services) -> None:
    for name, service in services.items():
        for other, rule in service.get("depends_on", {}).items():
            assert other in services, name
            assert rule["condition"] == ("service_completed_successfully" if other in ONE_SHOT else "service_healthy"), (name, other)
    waiting = {name for name, service in services.items() if "init" in service.get("depends_on", {})}
    assert waiting == services.keys() - {"init", "postgres", "redis", "grafana"} - BY_HAND


def test_the_other_files_change_only_services_that_there_are(services: Services) -> None:
    for file in FILES[1:]:
        override = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]
        assert override.keys() <= services.keys(), file
        assert all("ports" not in service and "user" not in service for service in override.values()), file
    assert "deploy" not in text_of("docker-compose.yml")  # a reservation would keep machines without a GPU from starting


@pytest.mark.parametrize("files", [FILES[:1], FILES[:2], (FILES[0], FILES[2])], ids=lambda files: files[-1])
def test_docker_compose_accepts_the_files(files: tuple[str, ...], tmp_path: Path) -> None:
    command = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    if not shutil.which(command[0]) or subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker-compose is not installed on this machine")
    secrets = {name: "x" for name, rule in VARIABLE.findall(text_of(FILES[0])) if rule.startswith(":?")}
    named = [word for file in files for word in ("-f", str(ROOT / file))]

    def config(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        place = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
        lines = [*command, *named, "--project-directory", str(tmp_path), "config"]
        return subprocess.run(lines, cwd=tmp_path, env=place | environment, capture_output=True, text=True, check=False)

    done = config(secrets)
    assert done.returncode == 0, done.stderr
    refused = config({})
    assert refused.returncode != 0
    assert "run make secrets" in refused.stderr


def settings_of(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **changed: str) -> Settings:
    """The settings that a container's environment makes."""
    for name, value in service["environment"].items():
        if name.startswith("PORTRAIT_") and value is not None:
            monkeypatch.setenv(name, VARIABLE.sub(lambda found: found[2][2:] if found[2].startswith(":-") else "x", value))
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return Settings(_env_file=None)
