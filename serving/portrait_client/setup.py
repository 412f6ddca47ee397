"""Builds `wire_pb2.py` from `wire.proto` into the wheel; all else stands in pyproject.toml."""

from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc
from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildMessages(build_py):
    """Compiles the messages first."""

    def run(self) -> None:
        known = files("grpc_tools") / "_proto"  # google/protobuf/*.proto
        if protoc.main(["protoc", f"-I{HERE}", f"-I{known}", f"--python_out={HERE}", "wire.proto"]):
            raise SystemExit("wire.proto could not be compiled")
        super().run()


setup(cmdclass={"build_py": BuildMessages})
