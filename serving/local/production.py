"""What keeps a house with servers from starting: a login without users, and secrets that may be guessed. No message repeats a secret.

A house of files (profile `embedded`) serves one machine and makes its own secrets, so nothing is asked of it here.
"""

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serving import keys
from serving.local import airflow_home
from serving.local.errors import NotStartable
from settings import Settings

AIRFLOW, API = "airflow", "api"
LEAST_CHARACTERS = 16
LEAST_DIFFERENT = 6
FERNET_BYTES = 32

#: What tutorials and default configurations say. A secret made of these and of little else may be guessed.
KNOWN = re.compile(
    "change[-_ ]?(?:me|it|this)|password|passw0rd|passwd|airflow|postgres|portrait|redis|admin|secret|default|example|insecure|"
    "qwerty|letmein|welcome|test|root|user|guest|temporary|0123456789|1234567890|123456789|12345678|123456|1234"
)
#: Keys that public examples of Airflow in containers repeat.
PUBLISHED = ("46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=", "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=")

_YES = ("1", "t", "true", "y", "yes", "on")


def check(settings: Settings, group: str | None = None) -> None:
    """Raises NotStartable with one line per problem, as `problems` finds them."""
    if found := problems(settings, group):
        raise NotStartable("\n".join(found))


def problems(settings: Settings, group: str | None = None) -> list[str]:
    """One line for each thing that a house with servers may not start with.

    Of the whole house, whose own secrets are made where they are missing; or of one service's `group`, which is told of no other's settings
    and finds its own secrets made.
    """
    if settings.profile == "embedded":
        return []
    airflow = [*_login(settings), *_fernet(settings)] if group in (None, AIRFLOW) else []
    return [*airflow, *_secrets(settings, group)]


def weakness(secret: str) -> str | None:
    """What makes it easy to guess, as the end of a sentence; None where nothing does."""
    if not secret:
        return "is empty"
    if len(secret) < LEAST_CHARACTERS:
        return f"has {len(secret)} characters, and {LEAST_CHARACTERS} are the least"
    rest = KNOWN.sub("", secret.lower())
    if secret in PUBLISHED or (rest != secret.lower() and len(re.sub(r"[\W_]", "", rest)) < LEAST_CHARACTERS // 2):
        return "is a well-known default"
    if len(set(secret)) < LEAST_DIFFERENT:
        return f"repeats {len(set(secret))} characters, and {LEAST_DIFFERENT} different ones are the least"
    return None


def _login(settings: Settings) -> Iterator[str]:
    if settings.login != "fab":
        yield (
            f"The profile `{settings.profile}` needs an Airflow whose users have roles. PORTRAIT_LOGIN is {settings.login}, one login that "
            "may do everything. Set PORTRAIT_LOGIN=fab."
        )
    if os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "").lower() in _YES:
        yield "Nobody may enter Airflow as an admin without a password. Unset AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS."
    if os.environ.get("AIRFLOW__FAB__AUTH_ROLE_PUBLIC"):
        yield "Nobody may enter Airflow without a password. Unset AIRFLOW__FAB__AUTH_ROLE_PUBLIC."


def _secrets(settings: Settings, group: str | None) -> Iterator[str]:
    for what, secret, way_out in (*_given(settings), *_own(settings, group)):
        if fault := weakness(secret):
            yield f"{what} {fault}. {way_out}"


def _given(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Secrets that the settings name."""
    for name, url in (
        ("AIRFLOW_DATABASE_URL", settings.airflow_database_url),
        ("MLFLOW_DATABASE_URL", settings.mlflow_database_url),
        ("REGISTRY_URL", settings.registry_url),
        ("WAREHOUSE_URL", settings.warehouse_url),
        ("BROKER_URL", settings.broker_url),
    ):
        if url and not url.startswith("sqlite"):
            yield (
                f"The password in PORTRAIT_{name}",
                unquote(urlsplit(url).password or ""),
                "Give its server another one, and name it there.",
            )
    if settings.online_store == "redis":
        options = dict(option.split("=", 1) for option in settings.redis.split(",") if "=" in option)
        yield "The password in PORTRAIT_REDIS", options.get("password", ""), "Give Redis another one (requirepass), and name it there."
    if settings.admin_password:
        yield "PORTRAIT_ADMIN_PASSWORD", settings.admin_password, "Choose another one, or leave it away to have one made."


def _own(settings: Settings, group: str | None) -> Iterator[tuple[str, str, str]]:
    """Secrets that the house makes for itself where a file is missing, and never overwrites."""
    airflow, api = settings.home / "airflow", keys.folder(settings)
    for what, of_group, file in (
        (f"Airflow's password of `{airflow_home.USER}`", AIRFLOW, airflow / "passwords.json"),
        *((f"Airflow's {name.replace('_', ' ')}", AIRFLOW, airflow / "secrets" / name) for name in airflow_home.SECRETS),
        ("The house's own key", API, api / "house_key"),
        ("The web page's session secret", API, api / "session_secret"),
    ):
        if group == of_group or (group is None and file.exists()):
            yield what, _text(file), f"Remove {file}; `portrait up` or `portrait prepare` makes another one."


def _text(file: Path) -> str:
    text = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    return json.loads(text).get(airflow_home.USER, "") if text and file.suffix == ".json" else text


def _fernet(settings: Settings) -> Iterator[str]:
    file = settings.home / "airflow" / "secrets" / "fernet_key"
    key = _text(file)
    if weakness(key) is None and not _is_fernet(key):
        yield f"Airflow's fernet key must be {FERNET_BYTES} bytes in base64. The one in {file} is not. Remove the file to have one made."


def _is_fernet(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == FERNET_BYTES
    except ValueError:
        return False
