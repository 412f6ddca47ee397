"""Training runs: point-in-time frames into a judged candidate in `candidates/<model>/<run>/`.

`train_encoder` first, then `train_model` for each model that stands on it. The same window, options and data give the same run folder.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from settings import get_settings
from training.credit_config import CreditConfig
from training.encoder_config import EncoderConfig
from training.fraud_config import FraudConfig
from training.portrait_config import PortraitConfig
from training.registry import circumstances
from training.run_folder import Run, TrainingOptions, TrainingSkipped, TrainingWindow, conclude, content_hash, run_folder, run_path, skip
from training.signatures import SERVED_MODELS
from training.uplift_config import UpliftConfig

__all__ = ["Run", "TrainingOptions", "TrainingSkipped", "TrainingWindow", "train_encoder", "train_model"]

ENCODER = "encoder"
_log = logging.getLogger(__name__)


def train_encoder(window: TrainingWindow | tuple[date, date], options: TrainingOptions | Mapping[str, Any] | None = None) -> Run:
    """The encoder, from what was known at `window.holdout_at`; its folder is what `train_model` takes.

    A shop without usable events gets a run without an encoder, since models of campaigns or credit can do without. Raises TrainingSkipped
    where there are neither events nor campaigns nor applications for credit.
    """
    window, options = _window(window), _options(options)
    _prepare_encoder(window, 0)
    from training.checkpoints import Checkpoint
    from training.credit_rows import credit_rows
    from training.encoder import train_encoder_network
    from training.fitting import Watch
    from training.frames import campaign_rows, catalogue_at
    from training.known_histories import known_histories
    from training.tracking import LiveRun

    started = time.monotonic()
    catalogue, config, seed = catalogue_at(window.holdout_at), _encoder_config(options), options.chosen_seed
    with known_histories(window.holdout_at, window.start_at) as (histories, known):
        content = content_hash(config.to_dict(), known, catalogue.item_ids, catalogue.title)
        with run_folder(ENCODER, window, seed, content) as (draft, final):
            live = LiveRun(ENCODER, final.name)
            watch = Watch(_log.info, live.log, Checkpoint(_checkpoint_of(final)))
            try:
                encoder = train_encoder_network(histories, catalogue, config, seed, watch=watch)
            except ValueError as error:
                live.fail()
                if not len(campaign_rows(window.end_at)[0]) and not len(credit_rows(window.end_at).known):
                    lacks = f"`events`: {error}; `campaign_exposures` has no campaign and `credit_applications` no outcome either"
                    raise skip(ENCODER, window, lacks) from error
                reason = f"No encoder: {error}"
                _log.warning(reason)
                (draft / "metrics.json").write_text(json.dumps({"skipped": reason}))
                return Run(ENCODER, final, {}, False, reason)
            encoder.save(draft / ENCODER)
            figures = {"loss": encoder.curves["loss"][-1], "users": len(histories), "seconds": round(time.monotonic() - started, 1)}
            (draft / "metrics.json").write_text(json.dumps(figures))
            live.finish({**encoder.config.to_dict(), "seed": seed, "window": f"{window.start}/{window.end}"}, figures)
            return Run(ENCODER, final, figures, False, "an encoder is not served by itself")


def accompany_encoder(
    window: TrainingWindow | tuple[date, date], options: TrainingOptions | Mapping[str, Any] | None, process: int
) -> None:
    """Trains the encoder beside `train_encoder`, as process number `process` of `settings.training_processes`, and keeps nothing."""
    window, options = _window(window), _options(options)
    _prepare_encoder(window, process)
    from training.checkpoints import Checkpoint
    from training.encoder import train_encoder_network
    from training.fitting import Watch
    from training.frames import catalogue_at
    from training.known_histories import known_histories

    catalogue, config, seed = catalogue_at(window.holdout_at), _encoder_config(options), options.chosen_seed
    with known_histories(window.holdout_at, window.start_at) as (histories, known):
        kept = run_path(ENCODER, window, seed, content_hash(config.to_dict(), known, catalogue.item_ids, catalogue.title))
        watch = Watch(_log.info, None, Checkpoint(_checkpoint_of(kept), is_read_only=True))
        try:
            train_encoder_network(histories, catalogue, config, seed, watch=watch)
        except ValueError as error:  # `train_encoder` says it, and what follows from it
            _log.warning("No encoder: %s", error)


def _prepare_encoder(window: TrainingWindow, process: int) -> None:
    from training import devices, distributed

    processes = get_settings().training_processes
    if processes > 1:
        distributed.meet(get_settings().candidates_dir / ENCODER / f".{window.start}_{window.end}.meeting", process, processes)
    devices.prepare()


def _encoder_config(options: TrainingOptions) -> EncoderConfig:
    config = EncoderConfig(sequence_length=get_settings().sequence_length)
    return replace(config, epochs=options.epochs) if options.epochs else config


def _checkpoint_of(final: Path) -> Path:
    return final.with_name(f".{final.name}.checkpoint")


def train_model(
    name: str, encoder_path: Path, window: TrainingWindow | tuple[date, date], options: TrainingOptions | Mapping[str, Any] | None = None
) -> Run:
    """One of SERVED_MODELS on the encoder that `train_encoder` left in `encoder_path`, exported, measured and judged.

    Raises TrainingSkipped where the shop's tables do not carry the model, and KeyError for an unknown name.
    """
    if name not in SERVED_MODELS:
        raise KeyError(f"A model must be one of {sorted(SERVED_MODELS)}. Received {name!r}.")
    window, options = _window(window), _options(options)
    from training import devices

    devices.prepare()
    from training.encoder import TrainedEncoder

    encoder: Any = TrainedEncoder.load(encoder_path / ENCODER) if (encoder_path / ENCODER).is_dir() else None
    if encoder is None and name not in ("uplift", "risk", "fraud"):
        raise skip(name, window, f"`events` carry no encoder: {encoder_path.name} holds none")
    seed = options.chosen_seed
    config = _head_config(name, options)
    params = {
        **(config.to_dict() if config else {}),
        **({f"encoder {key}": value for key, value in encoder.config.to_dict().items()} if encoder else {}),
    }
    provenance: dict[str, object] = {
        "encoder_version": encoder_path.name if encoder else None,
        "window": f"{window.start}/{window.end}",
        "holdout_at": window.holdout_at.isoformat(),
        "seed": seed,
        "epochs": options.epochs,
        "data_hash": encoder_path.name.rpartition("_")[2],  # of all that the encoder learned from, and its config
        **circumstances(),
        "config": params,
    }
    with run_folder(name, window, seed, content_hash(params, encoder_path.name)) as (draft, final):
        provenance["run"] = final.name
        if name == "recommender":
            from training.run_recommender import train_recommender

            evidence = train_recommender(encoder, window, seed, draft, provenance)
        elif name == "portrait":
            from training.run_portrait import train_portrait

            evidence = train_portrait(encoder, config, window, seed, draft, provenance)
        elif name == "risk":
            from training.run_credit import train_credit

            evidence = train_credit(config, window, seed, draft, provenance)
        elif name == "fraud":
            from training.run_fraud import train_fraud

            evidence = train_fraud(config, window, seed, draft, provenance)
        else:
            from training.run_uplift import train_uplift

            evidence = train_uplift(encoder, config, window, seed, draft, provenance)
        facts = {key: value for key, value in provenance.items() if key != "config"}
        run = conclude(name, draft, final, evidence, options, params, facts)
    _log.info("%s: %s", name, run.reason)
    return run


def _head_config(name: str, options: TrainingOptions) -> Any:
    """The config of the heads; the recommender has none of its own, it is the encoder's."""
    if name == "portrait":
        epochs: dict[str, Any] = {"trait_epochs": options.epochs, "propensity_epochs": options.epochs} if options.epochs else {}
        return PortraitConfig(**epochs)
    if name == "uplift":
        return UpliftConfig(adjust=get_settings().uplift_adjust, **({"epochs": options.epochs} if options.epochs else {}))
    if name == "risk":
        return CreditConfig(epochs=options.epochs) if options.epochs else CreditConfig()
    if name == "fraud":
        return FraudConfig(epochs=options.epochs) if options.epochs else FraudConfig()
    return None


def _window(window: TrainingWindow | tuple[date, date]) -> TrainingWindow:
    return window if isinstance(window, TrainingWindow) else TrainingWindow(*window)


def _options(options: TrainingOptions | Mapping[str, Any] | None) -> TrainingOptions:
    return options if isinstance(options, TrainingOptions) else TrainingOptions(**(options or {}))
