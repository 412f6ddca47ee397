"""`python -m tests.serving.busy_house`: writes to the house of the settings until it is killed, round after round, as loads and exports do.

In every round all rows get the round's number, in one transaction of each store; it says `ready` after the first.
"""

import sqlite3
from contextlib import closing
from itertools import count

from feature_repo.export import export_marts
from settings import get_settings
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import features, write_warehouse

USERS = 40


def main() -> None:
    import duckdb

    database = get_settings().home / "api" / "rounds.sqlite"
    database.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        rows = [features(f"user-{user}", 2 + user % 20, 2 + user % 20, events_7d=number) for user in range(USERS)]
        try:
            write_warehouse({"user_features": rows, "user_daily": []})
            export_marts(*MAY)
        except duckdb.IOException as error:  # a backup has it open
            assert "lock" in str(error)
        with closing(sqlite3.connect(database, timeout=30)) as file, file:
            for table in ("left", "right"):
                file.execute(f'create table if not exists "{table}" (number int)')
                file.executemany(f'insert into "{table}" values (?)', [(number,)] * USERS)
        if number == 1:
            print("ready", flush=True)


if __name__ == "__main__":
    main()
