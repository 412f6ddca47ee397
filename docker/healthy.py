"""A container's health check without an import that costs: `python -IS docker/healthy.py URL [PART]`; exit status 1 is unhealthy.

The URL must answer 200; with PART the answer is JSON in Airflow's form, and that part of it must be healthy.
"""

import json
import sys
import urllib.request


def main(url: str, part: str = "") -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body = answer.read()
    except OSError as error:
        print(f"{url}: {error}")
        return 1
    if part and json.loads(body).get(part, {}).get("status") != "healthy":
        print(f"{url}: {part} is {json.loads(body).get(part)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
