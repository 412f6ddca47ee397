"""What the consumers can refuse.

ConsumerError
├── UnknownUser      nobody of that id in the feature store
├── UnknownItem      no item of that id in the shop
├── UnknownSegment   no segment of that name that is large enough to be shown
├── NoResults        no campaign of that name was sent
├── NotServed        the shop lacks what a model needs, or the model server does not answer
├── BadRequest       a parameter breaks its rule
├── UnknownCampaign  no campaign of that name was planned                         (campaign_state.py)
├── CampaignRefused  a campaign cannot take that step                             (campaign_state.py)
├── UnknownReview    no decision of that id waits for a person
└── AlreadyReviewed  a person has decided otherwise before
"""


class ConsumerError(Exception):
    """Base of all that a consumer refuses; the message names the rule, what came, and the way out."""


class UnknownUser(ConsumerError):
    """The feature store has no row of this user."""

    def __init__(self, user_id: str) -> None:
        super().__init__(
            f"A portrait needs a user that the feature store knows. Received {user_id!r}. Load the user's records with the `ingest` DAG."
        )
        self.user_id = user_id


class UnknownItem(ConsumerError):
    """The published items do not hold this one."""

    def __init__(self, item_id: str) -> None:
        super().__init__(
            f"A question about an item needs one that the shop delivered. Received {item_id!r}. Load it with the `ingest` DAG."
        )
        self.item_id = item_id


class UnknownSegment(ConsumerError):
    """No segment of that name, or too few customers to be shown."""

    exit_code = 3

    def __init__(self, name: str) -> None:
        super().__init__(f"A segment must be one that `portrait segments list` shows. Received {name!r}.")


class NoResults(ConsumerError):
    """No campaign of that name was approved, so nobody was assigned anything."""

    exit_code = 3

    def __init__(self, name: str) -> None:
        super().__init__(f"Results are those of a campaign that was approved. Received {name!r}, which was not. Approve its plan first.")


class NotServed(ConsumerError):
    """The model is not there, with the reason."""


class BadRequest(ConsumerError):
    """A parameter breaks its rule."""


class UnknownReview(ConsumerError):
    """No decision of that id waits for a person."""


class AlreadyReviewed(ConsumerError):
    """A person has decided otherwise before."""
