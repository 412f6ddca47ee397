"""What serving stands, over HTTP with keys and with real processes; writes its part of `docs/benchmarks.md`:
`python -m benchmarks.serving [--only SECTION ...] [--soak-minutes 10]`.

The model server and the API as `portrait up` starts them, over 20,000 items; the load comes from this process and shares the cores with
them. Sections: rates, overload, swap, killed, stores, fuzz, peers; the soak where minutes are given. What was measured before is kept in
the temporary folder, so that a section can be measured again by itself; the house that is loaded lies there too.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import serving_faults, serving_fuzz, serving_peers, serving_rates, serving_soak
from benchmarks.page import circumstances, write_part
from benchmarks.serving_house import House, house
from benchmarks.serving_page import page

KEPT = Path(tempfile.gettempdir()) / "portrait-serving.json"
HOME = Path(tempfile.gettempdir()) / "portrait-serving"
SECTIONS: dict[str, Callable[[House], dict[str, Any]]] = {
    "rates": serving_rates.rates,
    "overload": serving_rates.overload,
    "swap": serving_faults.swap,
    "killed": serving_faults.killed,
    "stores": serving_faults.stores,
    "fuzz": serving_fuzz.fuzz,
    "peers": serving_peers.peers,
}
KNEE_WITHOUT_RATES = 60  # requests a second, for a soak where no knee is known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), help="measure these sections (none: the soak alone)")
    parser.add_argument("--soak-minutes", type=float, default=0.0, help="minutes of the soak; 0 leaves it out")
    asked = parser.parse_args()
    names = asked.only if asked.only is not None else list(SECTIONS)
    with house(HOME) as loaded:
        for name in names:
            if name in SECTIONS:
                keep(name, SECTIONS[name](loaded))
        if asked.soak_minutes:
            knee = known().get("rates", {}).get("mix", {}).get("knee") or KNEE_WITHOUT_RATES
            keep("soak", serving_soak.soak(loaded, asked.soak_minutes, knee / 2))
    text = page(known())
    write_part("serving", text)
    print(text)


def known() -> dict[str, Any]:
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def keep(name: str, result: dict[str, Any]) -> None:
    """Beside what is known, with the day, the machine and its load."""
    where = circumstances()
    head = f"{where['date']}, {where['machine']}, load average {os.getloadavg()[0]:.1f}"
    KEPT.write_text(json.dumps(known() | {name: result | {"head": head}}))


if __name__ == "__main__":
    main()
