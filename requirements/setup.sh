#!/usr/bin/env bash
# Installs Portrait into the virtual environment $1: a Python 3.11 or 3.12, then uv, then the pinned and hashed requirements.
set -euo pipefail
venv=${1:?usage: requirements/setup.sh VENV}
here=$(cd "$(dirname "$0")" && pwd)

python=""
for candidate in "${PYTHON:-}" python3.11 python3.12 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Portrait needs Python 3.11 or 3.12, and found neither. Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python setup" >&2
    exit 1
fi
free_kb=$(df -Pk "$here" | awk 'NR == 2 {print $4}')
if [ "$free_kb" -lt 6000000 ]; then
    echo "Portrait needs 6 GB of free disk to install; $((free_kb / 1000000)) GB are free here. Free some space, then run make setup again." >&2
    exit 1
fi

if [ ! -x "$venv/bin/python" ] && ! "$python" -m venv "$venv"; then
    echo "The virtual environment could not be made with $python. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/uv.txt"
"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes "$here/portrait.txt" "$here/uv.txt"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable "$here/.."
"$venv/bin/python" -m grpc_tools.protoc -I"$here/../serving/portrait_client" --python_out="$here/../serving/portrait_client" wire.proto
"$venv/bin/python" -m grpc_tools.protoc -I"$here/../serving/model_server" --python_out="$here/../serving/model_server" parameters.proto
echo "Portrait is installed in $venv ($("$venv/bin/python" --version))."
