"""Training speed beside what the device could do at best, on the JAX backend: `python -m benchmarks.gpu [--json FILE | --page FILE]`.

The encoder trains on random rows that lie on the device. A step's operations and bytes are counted, the device's own rates for both are
measured, and the larger of the two times is the floor. `--page` writes a kept result to `docs/benchmarks.md`; without a GPU everything
runs small.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

from benchmarks.page import circumstances, write_part
from training.catalogue import CATEGORY_LEVELS, ItemContent
from training.encoder import build_encoder, build_item_encoder, precision
from training.encoder_config import EncoderConfig
from training.fitting import build_training_model, weighted_mean
from training.layers import IDS, RESERVED, content_table
from training.steppers import ScannedSteps, fit_block
from training.windows import EVENT_TYPE_IDS, GAP_BUCKETS

HAS_GPU = jax.default_backend() == "gpu"
ITEMS, DENSE, CATEGORIES, BRANDS = (100_000, 66, 300, 2_000) if HAS_GPU else (2_000, 66, 30, 200)
SEED = 7


@dataclass(frozen=True)
class Case:
    """One model at one batch size; `by` is how it is stepped."""

    name: str
    config: EncoderConfig
    by: str = "scan"


def cases() -> list[Case]:
    """The default model at the default batch, by `fit` and by the scan; then what fills the device."""
    plain: dict[str, Any] = {} if HAS_GPU else {"dim": 32, "negatives": 64}
    wide: dict[str, Any] = {"dim": 512, "blocks": 4, "heads": 8, "negatives": 8192} if HAS_GPU else {"dim": 64, "blocks": 2}
    small, large, bf16 = (32, 2048, "mixed_bfloat16") if HAS_GPU else (8, 16, "mixed_bfloat16")
    return [
        Case("default", EncoderConfig(batch_rows=small, **plain), "fit"),
        Case("default", EncoderConfig(batch_rows=small, **plain)),
        Case("default", EncoderConfig(batch_rows=large, **plain)),
        Case("default", EncoderConfig(batch_rows=large, precision=bf16, **plain)),
        Case("wide", EncoderConfig(batch_rows=large // 4, **wide)),
        Case("wide", EncoderConfig(batch_rows=large // 4, precision=bf16, **wide)),
    ]


def encoded_items(config: EncoderConfig) -> int:
    """How many items a step must encode: each event, target and negative, or all items once where they are fewer."""
    return min(ITEMS, 2 * config.batch_rows * config.sequence_length + config.negatives)


def operations(config: EncoderConfig) -> int:
    """Floating-point operations of one training step: twice the multiplications of each matrix product, and twice that again for its
    two gradients; the items' content is not learned, which saves one of them."""
    tokens, dim, negatives = config.batch_rows * config.sequence_length, config.dim, config.negatives
    content = encoded_items(config) * DENSE * dim
    block = tokens * dim * dim * (3 + 1 + 4 + 2 + 2) + 2 * tokens * config.sequence_length * dim  # qkv, out, wide, narrow, gates; attention
    taste = tokens * config.sequence_length * dim + tokens * dim * dim
    loss = tokens * negatives * dim
    return 2 * (2 * content + 3 * (config.blocks * block + taste + loss))


def moved(config: EncoderConfig, parameters: int) -> dict[str, int]:
    """Bytes that one training step must move: `parameters` (weights, gradient, both moments and the moving average read, all but the
    gradient written, float32), `content` (rows of the items' table) and, where the loss is not one fused kernel, `logits` (written, read
    for the sum and for its gradient, which is written and read by two products)."""
    tokens = config.batch_rows * config.sequence_length
    size = 2 if config.precision == "mixed_bfloat16" else 4
    columns = DENSE + IDS
    return {
        "parameters": parameters * 4 * 9,
        "content": encoded_items(config) * columns * 4,
        "logits": 6 * tokens * config.negatives * size,
    }


def rates() -> dict[str, float]:
    """What the device does at best: matrix products in operations a second, copies in bytes (read and written) a second."""
    side = 8192 if HAS_GPU else 1024
    cells = 2**30 if HAS_GPU else 2**24
    found = {}
    for name, dtype in (("float32", "float32"), ("mixed_bfloat16", "bfloat16")):
        one = jax.random.normal(jax.random.key(0), (side, side), dtype)
        found[name] = 2 * side**3 / _seconds(jax.jit(lambda a: a @ a), one)
    many = jax.random.normal(jax.random.key(1), (cells,), "float32")
    found["copy"] = 2 * 4 * cells / _seconds(jax.jit(lambda a: a + 1.0), many)
    return found


def _seconds(call: Any, value: Any) -> float:
    """Seconds of one `call(value)`: the median of ten rounds of ten calls, after two rounds that do not count."""
    times = []
    for _ in range(12):
        started = time.perf_counter()
        for _ in range(10):
            found = call(value)
        found.block_until_ready()
        times.append((time.perf_counter() - started) / 10)
    return float(np.median(times[2:]))


def random_rows(config: EncoderConfig, batches: int) -> dict[str, np.ndarray]:
    """Training rows of full histories, items drawn as often as in a shop (Zipf)."""
    random = np.random.default_rng(SEED)
    shape = (batches * config.batch_rows, config.sequence_length)
    share = 1 / np.arange(1, ITEMS + 1)
    items = random.choice(ITEMS, size=(shape[0], shape[1] + 1), p=share / share.sum()).astype(np.int32) + RESERVED
    gaps = random.integers(1, GAP_BUCKETS, shape, np.int32)
    rows = {"items": items[:, :-1], "targets": items[:, 1:], "gaps": gaps, "waits": np.roll(gaps, -1, axis=1)}
    rows["types"] = random.integers(2, len(EVENT_TYPE_IDS), shape, np.int32)
    rows["segments"] = np.ones(shape, np.int32)
    rows["positions"] = np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1))
    return rows | {"weights": np.ones(shape, np.float32)}


def measure(case: Case, ceilings: dict[str, float]) -> dict[str, Any]:
    """Sequences a second of one case, and its step beside the floor."""
    config = case.config
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    content = ItemContent(
        random.normal(size=(ITEMS, DENSE)).astype(np.float32),
        random.integers(0, CATEGORIES, (ITEMS, CATEGORY_LEVELS)),
        random.integers(0, BRANDS, ITEMS),
    )
    table = content_table(content, np.ones(ITEMS, bool), np.ones(ITEMS, np.int32))
    sizes = {"places": len(table), "columns": table.shape[1], "categories": CATEGORIES, "brands": BRANDS}
    with precision(config.precision):
        item_encoder = build_item_encoder(config, sizes, SEED, table)
        network = build_encoder(config, item_encoder, SEED)
        model = build_training_model(network, item_encoder, np.ones(ITEMS), config, SEED)
    batches = 64 if HAS_GPU else 4
    optimizer = keras.optimizers.Adam(
        config.learning_rate, beta_2=0.98, use_ema=True, ema_momentum=config.averaging, ema_overwrite_frequency=batches
    )
    model.compile(optimizer, loss=weighted_mean, steps_per_execution=16, jit_compile=True)
    rows = random_rows(config, batches)
    order = random.permutation(len(rows["weights"]))
    if case.by == "fit":

        def run() -> float:
            return fit_block(model, config.batch_rows, 0, rows, order)
    else:
        scanned = ScannedSteps(model, weighted_mean, config.batch_rows)

        def run() -> float:
            return scanned(rows, order)

    first = run()
    times = []
    for _ in range(5):
        started = time.perf_counter()
        last = run()
        times.append(time.perf_counter() - started)
    step = float(np.median(times)) / batches
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    count, bytes_ = operations(config), moved(config, parameters)
    computing = count / ceilings[config.precision]
    fused = (bytes_["parameters"] + bytes_["content"]) / ceilings["copy"]
    written = fused + bytes_["logits"] / ceilings["copy"]
    return {
        "name": case.name,
        "by": case.by,
        "config": asdict(config),
        "parameters": parameters,
        "loss": [first, last],
        "step_ms": 1000 * step,
        "sequences_per_s": config.batch_rows / step,
        "operations": count,
        "bytes": bytes_,
        "computing_ms": 1000 * computing,
        "memory_fused_ms": 1000 * fused,
        "memory_ms": 1000 * written,
        "share_fused": max(computing, fused) / step,
        "share": max(computing, written) / step,
    }


def section(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rates_of = result["rates"]
    lines = [
        "## Training on a GPU",
        "",
        f"`python -m benchmarks.gpu`, {result['date']}, {result['machine']}, {result['device']}, JAX {result['jax']}, "
        f"Keras {result['keras']}. "
        f"Measured on the card: matrix products {rates_of['mixed_bfloat16'] / 1e12:.0f} TFLOP/s in bfloat16 and "
        f"{rates_of['float32'] / 1e12:.0f} in float32 (JAX's default), a copy {rates_of['copy'] / 1e12:.2f} TB/s, read and written.",
        "",
        "A *sequence* is a row of 50 events. The floor is the larger of operations over the product's rate and bytes over the copy's. "
        "*Floor, fused*: weights, moments and content alone, as if the logits of the loss never left the chip; *floor*: with the logits "
        "written and read.",
        "",
        "| model | stepped by | batch | precision | ms a step | sequences/s | GFLOP | GB | computing, ms | memory, ms "
        "| share of floor | share, fused |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["cases"]:
        config = row["config"]
        lines.append(
            f"| {row['name']}: width {config['dim']}, {config['blocks']} blocks, {config['negatives']:,} negatives | {row['by']} "
            f"| {config['batch_rows']:,} | {config['precision']} | {row['step_ms']:.2f} | {row['sequences_per_s']:,.0f} "
            f"| {row['operations'] / 1e9:,.1f} | {sum(row['bytes'].values()) / 1e9:.2f} | {row['computing_ms']:.3f} "
            f"| {row['memory_ms']:.3f} | {100 * row['share']:.0f} % | {100 * row['share_fused']:.0f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--page", type=Path, help="a kept result to write to docs/benchmarks.md, without measuring")
    given = parser.parse_args()
    if given.page:
        write_part("gpu", section(json.loads(given.page.read_text())))
        return
    result: dict[str, Any] = {**circumstances(), "device": jax.devices()[0].device_kind, "jax": jax.__version__, "keras": keras.__version__}
    result["rates"] = rates()
    result["cases"] = []
    for case in cases():
        result["cases"].append(measure(case, result["rates"]))
        if given.json:
            given.json.write_text(json.dumps(result, indent=1))
        print(section({**result, "cases": result["cases"][-1:]}).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
