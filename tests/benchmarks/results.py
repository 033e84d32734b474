"""The shape of what is measured, its medians and ratios, and its way into JSON and back.

Strategy: a case is measured in rounds; in each round every side once, one after the other, so that what the
machine does meanwhile meets all of them alike. A ratio is computed within a round, then the median of these.
Must not know: how anything is measured or drawn.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Case", "Metric", "Report", "Results", "Spread", "merged"]

Measures = dict[str, float]


@dataclass(frozen=True)
class Metric:
    """One number that is measured: its key, a heading with the unit, and how many decimals are worth showing."""

    key: str
    heading: str
    digits: int = 0


@dataclass(frozen=True)
class Spread:
    """The median of some values, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of the values, or None if there are none."""
        known = sorted(values)
        return cls(statistics.median(known), known[0], known[-1]) if known else None


@dataclass
class Case:
    """One comparison: `rounds[i][side]` has the measures of a side in round i. The first side is the subject."""

    name: str
    rounds: list[dict[str, Measures]] = field(default_factory=list)

    @property
    def sides(self) -> list[str]:
        """The sides, in the order in which they were measured."""
        return list(dict.fromkeys(side for one in self.rounds for side in one))

    def values(self, side: str, key: str) -> Spread | None:
        """Return the spread of a measure over the rounds, or None if the side does not have it."""
        return Spread.of(one[side][key] for one in self.rounds if key in one.get(side, {}))

    def ratios(self, other: str, key: str) -> Spread | None:
        """Return the spread of subject / other, each computed within one round; None if there are none."""
        subject = self.sides[0]
        pairs = [
            (one[subject].get(key), one[other].get(key)) for one in self.rounds if {subject, other} <= one.keys()
        ]
        return Spread.of(mine / theirs for mine, theirs in pairs if mine is not None and theirs)


@dataclass
class Report:
    """What one benchmark has found: `metrics` are shown, of those in `ratios` the ratio too, `plotted` is drawn."""

    name: str
    title: str
    metrics: list[Metric]
    ratios: list[str]
    plotted: str
    cases: list[Case] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def metric(self, key: str) -> Metric:
        """Return the metric with this key."""
        return next(metric for metric in self.metrics if metric.key == key)


@dataclass
class Results:
    """A whole run: what is known about it, and a report of each benchmark."""

    about: dict[str, Any]
    reports: list[Report]

    def to_json(self) -> dict[str, Any]:
        """Return it as what `json` can write."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Results:
        """Return what `to_json` was made of."""
        reports = []
        for one in data["reports"]:
            cases = [Case(**case) for case in one.pop("cases")]
            metrics = [Metric(**metric) for metric in one.pop("metrics")]
            reports.append(Report(**one, metrics=metrics, cases=cases))
        return cls(data["about"], reports)


def merged(old: Results, new: Results) -> Results:
    """Return the reports of both, those of `new` where both have one, with what is known of the new run."""
    renewed = {report.name for report in new.reports}
    return Results(new.about, [report for report in old.reports if report.name not in renewed] + new.reports)
