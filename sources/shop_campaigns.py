"""Two randomised campaigns of the simulated shop: offers and a control arm each, with known effects that depend on observable behaviour.

An offer works through visits: it adds one to those it persuades, and takes the next 14 days' visits from those it annoys. What a campaign
report would say (visited, converted, spend) is then counted from the events.

| segment, by the 30 days before | who | what an offer does |
| --- | --- | --- |
| persuadable | filled a cart and paid nothing | adds a visit, often a purchase; the better offer depends on prices looked at |
| sure thing | paid | next to nothing |
| lost cause | did not come | next to nothing |
| sleeping dog | came at least twice and only looked | takes visits away |
| other | anyone else | adds a visit now and then |

People who come by app are moved more than people who come by web.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sources.files import landing_table
from sources.shop_calendar import DAY, HOUR, as_days, as_times
from sources.shop_catalogue import Catalogue
from sources.shop_funnel import CART, FAVOURITE, PURCHASE, VIEW, next_session, simulate_visits
from sources.shop_ids import user_ids
from sources.shop_people import CHANNELS, People
from sources.shop_visits import make_visits

OUTCOME_DAYS = 14
EAGER = 1.2  # added to the log odds of cart and paying in a visit that an offer adds
SHARE_ASSIGNED = 0.8 / 0.9  # of those who agreed to offers (90 %): 80 % of all
SEGMENTS = np.array(["persuadable", "sure_thing", "lost_cause", "sleeping_dog", "other"])
OFFERS = ("control", "discount", "free_shipping", "gift")
_CHANNEL_FACTOR = np.array([0.8, 1.0, 1.2])

# probability that the offer adds a visit, by segment: (for who looks at cheap things, for who looks at dear ones)
_ADDS = {
    "control": np.zeros((5, 2)),
    "discount": np.array([[0.75, 0.40], [0.02, 0.02], [0.01, 0.01], [0.0, 0.0], [0.15, 0.05]]),
    "free_shipping": np.array([[0.30, 0.60], [0.02, 0.02], [0.01, 0.01], [0.0, 0.0], [0.05, 0.15]]),
    "gift": np.array([[0.40, 0.50], [0.02, 0.02], [0.01, 0.01], [0.0, 0.0], [0.10, 0.10]]),
}
_TAKES = np.array([0.0, 0.0, 0.0, 0.6, 0.0])  # probability that an offer takes the visits away, by segment


@dataclass(frozen=True)
class CampaignPlan:
    """One campaign: the day it starts, counted back from the end of the window, its arms, and their probabilities and costs."""

    name: str
    days_before_end: int
    arms: tuple[str, ...]
    propensity: tuple[float, ...]
    cost: tuple[float, ...]


CAMPAIGNS = (
    CampaignPlan("winter", 55, ("control", "discount", "gift"), (0.4, 0.35, 0.25), (0.0, 2.0, 3.0)),
    CampaignPlan("spring", 30, ("control", "discount", "free_shipping"), (0.4, 0.3, 0.3), (0.0, 2.0, 1.2)),
)


@dataclass(frozen=True)
class Campaign:
    """Who was assigned what, and the truth; arrays of shape `(assigned,)` or `(assigned, arms)`, outcomes of arms not taken included."""

    plan: CampaignPlan
    user: np.ndarray
    arm: np.ndarray
    assigned_at: np.ndarray
    segment: np.ndarray
    recency_days: np.ndarray  # NaN: never seen
    spend_before: np.ndarray
    adds: np.ndarray  # probability that an arm adds a visit
    visited: np.ndarray
    converted: np.ndarray
    spend: np.ndarray


def run_campaign(
    rng: np.random.Generator,
    plan: CampaignPlan,
    events: np.ndarray,
    catalogue: Catalogue,
    people: People,
    may_choose: np.ndarray,
    start: int,
    end: int,
) -> tuple[np.ndarray, Campaign]:
    """`events` as they are after the campaign, and the campaign."""
    day = end - plan.days_before_end * DAY
    eligible = np.flatnonzero(may_choose & (people.registered_at < day))
    user = np.sort(rng.permutation(eligible)[: round(len(eligible) * SHARE_ASSIGNED)])
    assigned_at = day + 9 * HOUR + rng.integers(0, HOUR, len(user))
    before = _Before.of(events, catalogue, len(people), day)
    segment, looks_dear = before.segment[user], before.looks_dear[user]
    arm = rng.choice(len(plan.arms), len(user), p=plan.propensity)
    place = np.full(len(people), -1)
    place[user] = np.arange(len(user))

    owner = np.where(events["guest"], -1, place[events["user"]])
    inside = (owner >= 0) & (events["at"] >= assigned_at[owner]) & (events["at"] < assigned_at[owner] + OUTCOME_DAYS * DAY)
    spent = events["cents"] * events["quantity"].astype(np.int64) / 100
    takes = rng.random(len(user)) < _TAKES[segment]
    persuaded = rng.random(len(user))
    shape = (len(user), len(plan.arms))
    adds, visited, converted, spend = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    added: list[np.ndarray] = []
    for number, offer in enumerate(plan.arms):
        adds[:, number] = np.minimum(_ADDS[offer][segment, looks_dear] * _CHANNEL_FACTOR[people.channel[user]], 1)
        extra = events[:0]
        stays = inside if number == 0 else inside & ~takes[owner]
        comes = np.flatnonzero(persuaded < adds[:, number])
        if len(comes):
            at = assigned_at[comes] + rng.integers(2 * HOUR, 8 * DAY, len(comes))
            first = max(next_session(part) for part in (events, *added))
            visits = make_visits(user[comes], at, np.zeros(len(comes), bool), first)
            extra = simulate_visits(rng, visits, catalogue, people, start, end, eager=EAGER)
        for kind, outcome in ((VIEW, visited), (PURCHASE, converted)):
            outcome[owner[stays & (events["type"] == kind)], number] = 1
            outcome[place[extra["user"][extra["type"] == kind]], number] = 1
        paid = stays & (events["type"] == PURCHASE)
        np.add.at(spend[:, number], owner[paid], spent[paid])
        extra_spent = extra["cents"] * extra["quantity"].astype(np.int64) * (extra["type"] == PURCHASE) / 100
        np.add.at(spend[:, number], place[extra["user"]], extra_spent)
        added.append(extra[arm[place[extra["user"]]] == number])

    gone = inside & (takes & (arm > 0))[owner]
    campaign = Campaign(
        plan, user, arm, assigned_at, segment, before.recency_days[user], before.spend[user], adds, visited, converted, spend
    )
    return np.concatenate([events[~gone], *added]), campaign


@dataclass(frozen=True)
class _Before:
    """What was known of every customer of the block at a midnight, arrays of shape `(users,)`."""

    segment: np.ndarray
    looks_dear: np.ndarray  # 1 where the mean price level looked at in 30 days is above the shop's middle, 0
    recency_days: np.ndarray
    spend: np.ndarray

    @classmethod
    def of(cls, events: np.ndarray, catalogue: Catalogue, users: int, day: int) -> "_Before":
        own = events[(events["at"] < day) & ~events["guest"]]
        recent = own[own["at"] >= day - 30 * DAY]
        counts = [np.bincount(recent["user"][recent["type"] == kind], minlength=users) for kind in range(PURCHASE + 1)]
        views, favourites, carts, purchases = counts[VIEW], counts[FAVOURITE], counts[CART], counts[PURCHASE]
        visits = np.unique(recent["user"].astype(np.int64) << 32 | recent["session"]) >> 32
        sessions = np.bincount(visits, minlength=users)
        chosen = [(carts > 0) & (purchases == 0), purchases > 0, views == 0, (sessions >= 2) & (favourites == 0)]
        levels = np.bincount(recent["user"], weights=catalogue.price_level[recent["item"]], minlength=users)
        last = np.zeros(users, np.int64)
        np.maximum.at(last, own["user"], own["at"])
        spend = np.bincount(own["user"], weights=own["cents"] * own["quantity"].astype(np.int64), minlength=users)
        return cls(
            np.select(chosen, [0, 1, 2, 3], 4), (levels > 0).astype(int), np.where(last > 0, (day - last) / DAY, np.nan), spend / 100
        )


def exposures_table(campaign: Campaign, people: People) -> pa.Table:
    """Rows of the landing table `campaign_exposures`, one a user, delivered whole on the day the outcome is known."""
    plan, taken = campaign.plan, (np.arange(len(campaign.user)), campaign.arm)
    outcome_at = campaign.assigned_at + OUTCOME_DAYS * DAY
    columns = {
        "campaign_id": np.full(len(campaign.user), plan.name),
        "user_id": user_ids(people.first + campaign.user),
        "assigned_at": as_times(campaign.assigned_at),
        "treatment": np.array(plan.arms)[campaign.arm],
        "propensity": np.array(plan.propensity)[campaign.arm],
        "cost": np.array(plan.cost)[campaign.arm],
        "visited": campaign.visited[taken] > 0,
        "converted": campaign.converted[taken] > 0,
        "spend": np.round(campaign.spend[taken], 2),
        "outcome_at": as_times(outcome_at),
    }
    rows = landing_table("campaign_exposures", columns, as_days(outcome_at))
    rows = rows.append_column("x_recency_days", pa.array(np.floor(campaign.recency_days), from_pandas=True))
    rows = rows.append_column("x_spend_before", pa.array(np.round(campaign.spend_before, 2)))
    return rows.append_column("x_channel", pa.array(CHANNELS[people.channel[campaign.user]]))


def campaign_truth(campaign: Campaign, people: People) -> pa.Table:
    """Segment, and for every offer the probability that it adds a visit and the outcomes it leads to; null for other campaigns' offers."""
    plan = campaign.plan
    columns: dict[str, pa.Array] = {
        "campaign_id": pa.array([plan.name] * len(campaign.user)),
        "user_id": user_ids(people.first + campaign.user),
        "segment": pa.array(SEGMENTS[campaign.segment]),
        "treatment": pa.array(np.array(plan.arms)[campaign.arm]),
        "takes": pa.array(_TAKES[campaign.segment]),
    }
    for name in ("adds", "visited", "converted", "spend"):
        for offer in OFFERS:
            values = getattr(campaign, name)
            given = values[:, plan.arms.index(offer)] if offer in plan.arms else None
            columns[f"{name}_{offer}"] = pa.nulls(len(campaign.user), pa.float64()) if given is None else pa.array(given)
    return pa.table(columns)
