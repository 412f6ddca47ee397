"""The fitted encoder: it learns a rule planted in the data, and says the same thing again."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import HOUR_US, START_US, make_histories, walk
from training.encoder_config import EncoderConfig

pytestmark = pytest.mark.slow

ASKED = {"short": walk(3, 2), "long": walk(0, 20), "none": [], "odd": [99]}


def test_the_planted_successor_is_ranked_first(encoder):
    histories = make_histories({str(start): walk(start, 4) for start in range(24)})
    (scores,) = encoder.scores(histories)
    best = encoder.catalogue.item_ids[scores.argmax(1)]
    assert best.tolist() == [f"i{(start + 8) % 24:02d}" for start in range(24)]
    assert encoder.curves["loss"][-1] < encoder.curves["loss"][0]


def test_a_history_is_answered_alike_alone_and_beside_longer_ones(encoder):
    together = encoder.vectors(make_histories(ASKED))
    alone = encoder.vectors(make_histories({"short": ASKED["short"]}))
    np.testing.assert_allclose(together[:1], alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), [1, 1, 0, 1], atol=1e-5)


def test_events_at_or_after_the_time_of_the_question_count_for_nothing(encoder):
    histories = make_histories({"a": walk(0, 5)})
    asked = encoder.vectors(histories, START_US + 3 * HOUR_US)
    known = make_histories({"a": walk(0, 3)})
    np.testing.assert_allclose(asked, encoder.vectors(known, START_US + 3 * HOUR_US), atol=1e-6)
    assert np.abs(asked - encoder.vectors(known)).max() > 1e-4  # when the next event comes is known, or it is not


def test_a_user_without_events_gets_log_popularity(encoder, shop):
    (scores,) = encoder.scores(make_histories({"none": []}))
    counts = np.array([sum((items == item).sum() for items in shop.item_ids) for item in encoder.catalogue.item_ids])
    np.testing.assert_allclose(scores[0], np.log((counts + 1) / (counts.sum() + 25)), rtol=1e-5)


def test_scores_come_in_blocks_that_follow_the_users(encoder):
    histories = make_histories({str(start): walk(start, 3) for start in range(5)})
    blocks = list(encoder.scores(histories, batch=2))
    assert [len(block) for block in blocks] == [2, 2, 1]
    (whole,) = encoder.scores(histories)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-4)


def test_a_saved_encoder_answers_the_same_after_loading(encoder, tmp_path):
    from training.encoder import TrainedEncoder

    encoder.save(tmp_path / "encoder")
    loaded = TrainedEncoder.load(tmp_path / "encoder")
    histories = make_histories(ASKED)
    np.testing.assert_allclose(next(loaded.scores(histories)), next(encoder.scores(histories)), atol=1e-5)
    assert loaded.config == encoder.config
    assert loaded.curves == encoder.curves


def small(shop, catalogue, seed, **options):
    from training.encoder import train_encoder_network

    config = EncoderConfig(**{"sequence_length": 8, "dim": 8, "epochs": 3, "batch_rows": 8, **options})
    return train_encoder_network(shop[:60], catalogue, config, seed, validation=options.get("validation"))


def test_a_seed_gives_the_same_numbers_and_another_seed_others(shop, catalogue):
    first, second, other = (small(shop, catalogue, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.vectors(shop[:9]), second.vectors(shop[:9]))
    assert first.curves == second.curves
    assert np.abs(first.vectors(shop[:9]) - other.vectors(shop[:9])).max() > 0.01


def test_training_stops_when_validation_stays_and_keeps_the_best_epoch(shop, catalogue):
    from training.encoder import train_encoder_network
    from training.fitting import validation_ndcg
    from training.splits import Validation

    lines: list[str] = []
    validation = Validation(shop.without_last(1)[:20], np.array([items[-1] for items in shop.item_ids[:20]], object))
    config = EncoderConfig(sequence_length=8, dim=8, epochs=40, patience=2, batch_rows=8, learning_rate=0.02)
    encoder = train_encoder_network(shop.without_last(1), catalogue, config, 1, log=lines.append, validation=validation)
    curve = encoder.curves["val_ndcg@10"]
    assert len(curve) < 40
    assert "no better for 2 epochs, stopping" in lines[-1]
    assert validation_ndcg(replace(encoder, memory=None), validation) == pytest.approx(max(curve), abs=1e-6)
    assert validation_ndcg(encoder, validation) >= max(curve) - 1e-6  # the memory's weights are the best of those that hold 0


def test_a_shop_without_two_events_of_one_user_is_refused_with_what_came(catalogue):
    from training.encoder import train_encoder_network

    with pytest.raises(
        ValueError, match=r"at least two events on items of the catalogue\. Received 2 users, 2 events on them, none of them such a pair"
    ):
        train_encoder_network(make_histories({"a": [1], "b": [2]}), catalogue, EncoderConfig(), 1)


def test_configs_refuse_what_cannot_be_built():
    with pytest.raises(ValueError, match=r"`dim` must be a multiple of `heads`\. Received dim=10, heads=4"):
        EncoderConfig(dim=10, heads=4)
    with pytest.raises(ValueError, match=r"`epochs` must be at least 1\. Received 0"):
        EncoderConfig(epochs=0)
    with pytest.raises(ValueError, match=r"`temperature` must be above 0\. Received 0\.0"):
        EncoderConfig(temperature=0.0)


def test_epochs_follow_the_number_of_events_unless_chosen():
    assert EncoderConfig(epochs=4).epochs_for(10**9) == 4
    assert [EncoderConfig().epochs_for(events) for events in (10, 300_000, 10**9)] == [50, 5, 3]
    assert EncoderConfig(patience=5).epochs_for(10**9) == 100
