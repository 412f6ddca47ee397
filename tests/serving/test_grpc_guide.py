"""docs/grpc.md says what training/signatures.py says, and its client works."""

import re

import pytest

from settings import ROOT
from training.signatures import SERVED_MODELS

GUIDE = (ROOT / "docs" / "grpc.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", SERVED_MODELS.values(), ids=lambda model: model.name)
def test_the_guides_tables_are_the_signatures(model):
    table = GUIDE.split(f"### `{model.name}`\n")[1].split("\n## ")[0].split("\n### ")[0]
    rows = re.findall(r"^\| (in|out) \| `(\w+)` \| (\w+) \| `\((.*?)\)` \| (.*) \|$", table, re.MULTILINE)
    declared = [("in", tensor) for tensor in model.inputs] + [("out", tensor) for tensor in model.outputs]
    assert rows == [(kind, t.name, t.dtype, ", ".join(t.dims), t.meaning) for kind, t in declared]


@pytest.mark.parametrize("model", [model for model in SERVED_MODELS.values() if model.explain_outputs], ids=lambda model: model.name)
def test_the_guides_tables_of_explanations_are_the_signatures(model):
    table = GUIDE.split(f"### `{model.name}`, signature `explain`")[1].split("\n## ")[0].split("\n### ")[0]
    rows = re.findall(r"^\| (in|out) \| `(\w+)` \| (\w+) \| `\((.*?)\)` \| (.*) \|$", table, re.MULTILINE)
    declared = [("in", tensor) for tensor in model.explain_inputs] + [("out", tensor) for tensor in model.explain_outputs]
    assert rows == [(kind, t.name, t.dtype, ", ".join(t.dims), t.meaning) for kind, t in declared]


def test_every_example_names_each_input_of_the_recommender():
    examples = re.findall(r"```(?:python|bash)\n(.*?)```", GUIDE, re.DOTALL)
    asking = [example for example in examples if "event_item_ids" in example]
    assert len(asking) == 3
    for example in asking:
        assert all(f'"{tensor.name}"' in example for tensor in SERVED_MODELS["recommender"].inputs)
