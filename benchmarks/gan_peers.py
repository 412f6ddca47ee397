"""CTGAN and TVAE of the package `ctgan`, by the Python that has it: reads a table, writes synthetic ones. Imports nothing of Portrait.

`python gan_peers.py TABLE.csv OUT_FOLDER MODEL ROWS SEED [SEED ...]` writes `MODEL-SEED.csv` and then `MODEL-SEED.json` with the seconds.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN, TVAE

FEW_NUMBERS = 24


def main(table: Path, folder: Path, model: str, rows: int, seeds: list[int]) -> None:
    warnings.simplefilter("ignore")
    real = pd.read_csv(table)
    discrete = [name for name in real.columns if not pd.api.types.is_numeric_dtype(real[name]) or real[name].nunique() <= FEW_NUMBERS]
    for name in discrete:
        real[name] = real[name].astype(str).astype(object)
    for seed in seeds:
        np.random.seed(seed)
        torch.manual_seed(seed)
        started, worked = time.monotonic(), time.process_time()
        peer = {"CTGAN": CTGAN, "TVAE": TVAE}[model]()  # 300 epochs and the package's other defaults
        peer.fit(real, discrete)
        trained = time.monotonic() - started
        cpu = time.process_time() - worked
        peer.sample(rows).to_csv(folder / f"{model}-{seed}.csv", index=False)
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        told = {"seconds": round(trained, 1), "cpu_seconds": round(cpu, 1), "device": device, "torch": torch.__version__}
        (folder / f"{model}-{seed}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), [int(seed) for seed in sys.argv[5:]])
