"""Hyper-parameters of the encoder. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

BACKBONES = ("attention", "lstm", "cnn")
LOSSES = ("sampled_softmax", "full_softmax", "gbce")
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class EncoderConfig:
    """The causal sequence model: what it sees, how large it is, how it learns. Defaults were chosen on validation only."""

    backbone: Literal["attention", "lstm", "cnn"] = "attention"
    sequence_length: int = 50
    dim: int = 128
    blocks: int = 1
    heads: int = 4  # of attention
    is_gated: bool = True  # attention with LiGR's gates
    time_aware: bool = False  # attention that knows the time between any two events, not only since the event before
    kernel: int = 3  # taps of a convolution
    kernel_growth: int = 2  # each block's taps lie so many times farther apart than the block's before
    long_taste: bool = True  # a direct way from the mean of all items of a history to its states
    dropout: float = 0.5
    id_dropout: float = 0.05  # share of items seen by content alone while learning, so that new items have a place
    wait_dropout: float = 0.3  # share of steps that are not told when the next event comes, so that it may be unknown
    loss: Literal["sampled_softmax", "full_softmax", "gbce"] = "sampled_softmax"
    negatives: int = 2048
    gbce_trust: float = 0.75
    negative_popularity: float = 0.0  # negatives are drawn by count to this power; 0 is uniform; corrected by log q
    temperature: float = 0.07
    repeat_weight: float = 0.0  # weight of targets that the user has had before: nobody needs a model to repeat them
    visit_weight: float = 0.1  # weight of targets that follow within the same visit
    memory_weight: float | None = None  # of the items that keep company with a history's own; None: chosen on held-out questions
    memory_own_weight: float | None = None  # of how often the history held an item; None: likewise, 0 where nothing repeats
    learning_rate: float = 2e-3
    averaging: float = 0.98  # momentum of the moving average that the weights become after each epoch
    batch_rows: int = 32  # rows of `sequence_length` steps, each packed with as many users as fit
    epochs: int | None = None  # None: as many as `epochs_for` says
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the steps of training; what is trained is float32 either way
    patience: int = 0  # epochs without a better validation NDCG@10 before stopping; 0 trains all epochs

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(
                f"`dim` must be a multiple of `heads`. Received dim={self.dim}, heads={self.heads}. Choose another of the two."
            )
        for name, known in (("backbone", BACKBONES), ("loss", LOSSES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {list(known)}. Received {getattr(self, name)!r}. Choose one of them.")
        for name in (
            "sequence_length",
            "dim",
            "blocks",
            "heads",
            "kernel",
            "kernel_growth",
            "negatives",
            "batch_rows",
            "epochs",
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received {value}. Choose a positive number.")
        if self.temperature <= 0:
            raise ValueError(f"`temperature` must be above 0. Received {self.temperature}. Values around 0.05 suit cosines.")

    def epochs_for(self, events: int) -> int:
        """Epochs for so many training events: a million and a half seen in all, or a high limit where validation stops the training."""
        if self.epochs:
            return self.epochs
        return 100 if self.patience else min(50, max(3, round(1_500_000 / max(1, events))))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
