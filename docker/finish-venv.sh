#!/bin/sh
# Ends an image's virtual environment: generates the protocol files into /protos (what requirements/setup.sh does in a checkout), removes the
# distributions "$@" and the tests that large packages carry, and compiles the rest, since a container's system is read-only.
set -e
for file in portrait_client/wire model_server/parameters; do
    mkdir -p "/protos/${file%/*}"
    /opt/venv/bin/python -m grpc_tools.protoc "-Iserving/${file%/*}" "--python_out=/protos/${file%/*}" "${file##*/}.proto"
done
/opt/uv/bin/uv pip uninstall --quiet --python /opt/venv/bin/python "$@"
cd /opt/venv/lib/python3*/site-packages
for package in dask matplotlib numpy pandas pyarrow scipy sklearn; do
    [ ! -d "$package" ] || find "$package" -type d -name tests -prune -exec rm -rf {} +
done
rm -rf tensorflow/include
/opt/venv/bin/python -m compileall -q -j 0 .
