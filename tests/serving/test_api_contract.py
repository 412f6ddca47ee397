"""The API held to its own OpenAPI document by schemathesis: whatever is sent, the answer is one that the document describes."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core.result import Ok

from serving import events, keys
from serving.api import create_app
from serving.http import v1
from settings import get_settings
from tests.serving.fakes import FakeFront
from tests.serving.web_client import furnish, put, shop
