"""What the uplift model reads, and what it must learn to do without."""

import numpy as np
import pandas as pd

from training.signatures import USER_FEATURES
from training.uplift_inputs import Covariates

OWN = len(USER_FEATURES)


def known(rows: int, are_features_known: bool) -> tuple[Covariates, dict[str, np.ndarray]]:
    frame = pd.DataFrame({"x_score": np.arange(rows) + 1.0, "x_town": ["north", "south"] * (rows // 2)})
    if are_features_known:
        frame["views_30d"] = 3.0
    covariates = Covariates.of(frame, ["x_score", "x_town"], max_values=30)
    return covariates, covariates.inputs(frame, None)


def test_half_of_the_rows_teach_what_a_plan_asks_for_without_the_shops_own_covariates():
    covariates, inputs = known(10, are_features_known=True)
    shown = covariates.half_hidden(inputs, seed=1)
    hidden = np.isnan(shown["numbers"][:, OWN])
    assert hidden.sum() == 5
    assert (shown["words"][hidden] == 0).all()
    assert (shown["words"][~hidden] > 0).all()
    np.testing.assert_array_equal(shown["numbers"][:, :OWN], inputs["numbers"][:, :OWN])
    assert np.isfinite(inputs["numbers"][:, OWN]).all()  # what was given is left as it is


def test_where_the_house_knows_nothing_else_of_people_nothing_is_hidden():
    covariates, inputs = known(10, are_features_known=False)
    assert covariates.half_hidden(inputs, seed=1) is inputs
    with_vectors = inputs | {"vector": np.ones((10, 2), np.float32)}
    assert np.isnan(covariates.half_hidden(with_vectors, seed=1)["numbers"][:, OWN]).sum() == 5


def test_trees_read_numbers_as_they_are_and_words_one_hot():
    covariates, inputs = known(4, are_features_known=True)
    inputs["words"][3] = 0  # a town that nobody knew
    table = covariates.table(inputs)
    assert table.dtype == np.float32
    assert table[:, OWN].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert np.isnan(table[:, 0]).all()  # events_7d was not delivered
    assert table[:, OWN + 1 :].tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
