"""The shop's rules of recommendation: `recommend.toml`, a file for people, as one checked value; a request may override some of them."""

import logging
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from serving.errors import BadRequest, ConsumerError

RULES_FILE = Path(__file__).with_name("recommend.toml")

#: What a request may set. `blocked` of a request is added to the shop's own.
OVERRIDES = (
    "categories",
    "without_categories",
    "price_min",
    "price_max",
    "blocked",
    "diversity",
    "category_cap",
    "exploration_share",
)

#: Where each rule stands in the file: section, key.
_PLACES = {
    "in_stock": ("filters", "in_stock"),
    "categories": ("filters", "categories"),
    "without_categories": ("filters", "without_categories"),
    "price_min": ("filters", "price_min"),
    "price_max": ("filters", "price_max"),
    "blocked": ("filters", "blocked"),
    "promoted": ("promoted", "items"),
    "promoted_share": ("promoted", "share"),
    "diversity": ("variety", "diversity"),
    "category_cap": ("variety", "category_cap"),
    "exploration_share": ("exploration", "share"),
    "exploration_pool": ("exploration", "pool"),
    "temperature": ("exploration", "temperature"),
    "candidates": ("model", "candidates"),
    "deadline_ms": ("model", "deadline_ms"),
}
_SECTIONS = {"had", *(section for section, _ in _PLACES.values())}
_SHARES = ("promoted_share", "exploration_share")
_TUPLES = ("categories", "without_categories", "blocked", "promoted")

log = logging.getLogger(__name__)


class BadRules(ConsumerError):
    """The file of rules says what no list can follow; the message says where."""


@dataclass(frozen=True)
class Filters:
    """What an item must be to be shown to anybody."""

    in_stock: bool = True
    categories: tuple[str, ...] = ()
    without_categories: tuple[str, ...] = ()
    price_min: float = 0.0
    price_max: float = math.inf
    blocked: tuple[str, ...] = ()

    @property
    def has_price_limit(self) -> bool:
        return self.price_min > 0 or self.price_max < math.inf


@dataclass(frozen=True)
class Rules(Filters):
    """Every rule by its name; `recommend.toml` says what each means. ValueError names the first that is broken."""

    had: Mapping[str, float] = field(default_factory=dict)  # days by event type
    promoted: tuple[str, ...] = ()
    promoted_share: float = 0.0
    diversity: float = 0.0
    category_cap: int = 0
    exploration_share: float = 0.0
    exploration_pool: int = 50
    temperature: float = 1.0
    candidates: int = 100
    deadline_ms: float = 300.0

    def __post_init__(self) -> None:
        for name in _TUPLES:
            values = getattr(self, name)
            if isinstance(values, str) or not all(isinstance(value, str) for value in values):
                raise ValueError(f"`{name}` must be a list of texts. Received {values!r}.")
            object.__setattr__(self, name, tuple(values))
        for name, least in (("category_cap", 0), ("exploration_pool", 1), ("candidates", 1)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise ValueError(f"`{name}` must be a whole number from {least}. Received {getattr(self, name)!r}.")
        for name in _SHARES:
            self._number(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        self._number("diversity", 0 <= self.diversity < 1, "from 0 to below 1")
        self._number("temperature", 0 < self.temperature < math.inf, "above 0")
        self._number("deadline_ms", 0 < self.deadline_ms < math.inf, "above 0")
        self._number("price_min", self.price_min >= 0, "zero or more")
        self._number("price_max", self.price_max >= self.price_min, f"at least `price_min`, which is {self.price_min:g}")
        for kind, days in self.had.items():
            if not days > 0:
                raise ValueError(
                    f"`had.{kind}` must be days above 0, or inf. Received {days!r}. Delete the line where it should not count."
                )

    @property
    def filters(self) -> Filters:
        """The part that says which items may be shown: the same for all users, so what follows from it may be kept."""
        return Filters(self.in_stock, self.categories, self.without_categories, self.price_min, self.price_max, self.blocked)

    def overridden(self, given: Mapping[str, Any]) -> "Rules":
        """These rules with what a request sets; None sets nothing. BadRequest where it may not, or breaks a rule."""
        chosen = {name: value for name, value in given.items() if value is not None}
        if unknown := sorted(set(chosen) - set(OVERRIDES)):
            raise BadRequest(f"A request may override {list(OVERRIDES)}. Received {unknown}. The others stand in {RULES_FILE.name}.")
        if "blocked" in chosen:
            chosen["blocked"] = (*self.blocked, *chosen["blocked"])
        try:
            return replace(self, **chosen) if chosen else self
        except (TypeError, ValueError) as problem:
            raise BadRequest(str(problem)) from None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _number(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"`{name}` must be {rule}. Received {getattr(self, name)!r}.")


def rules_of(path: Path = RULES_FILE) -> Rules:
    """The rules of a file; raises BadRules where they cannot be followed. What a file leaves out has the value of `recommend.toml`."""
    found = _read(RULES_FILE) if path != RULES_FILE else {}
    for section, values in _read(path).items():
        found[section] = values if section == "had" else {**found.get(section, {}), **values}
    known = {name: found[section][key] for name, (section, key) in _PLACES.items() if key in found.get(section, {})}
    try:
        return Rules(**known, had=found.get("had", {}))
    except (TypeError, ValueError) as problem:
        raise BadRules(f"{path}: {problem} See {RULES_FILE.name}.") from None


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise BadRules(f"The rules of recommendation are a TOML file. {path}: {problem}. Start from {RULES_FILE.name}.") from problem
    for section, values in found.items():
        keys = sorted(key for place, key in _PLACES.values() if place == section)
        if section not in _SECTIONS or not isinstance(values, dict):
            raise BadRules(f"A section must be one of {sorted(_SECTIONS)}. {path} has [{section}]. Correct or delete it.")
        if section != "had" and (unknown := sorted(set(values) - set(keys))):
            raise BadRules(f"[{section}] may have {keys}. {path} has {unknown}. Correct or delete them.")
    return found


class RulesFile:
    """The rules of a file that a person may edit at any time: read anew when it has changed; a broken edit changes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = self._stamped()
        self._rules = rules_of(path)

    def read(self) -> Rules:
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._rules = rules_of(self.path)
            except BadRules as problem:
                log.error("The rules before stay in force. %s", problem)
        return self._rules

    def _stamped(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
