"""Airflow makes its home when it is imported: here it is a throw-away one."""

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="portrait-airflow-"))
