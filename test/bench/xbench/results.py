"""The figures of all rounds, their medians and ratios.

SPDX-License-Identifier: BSD-3-Clause
"""

import csv
import statistics
from collections import defaultdict

from .plan import (BANDWIDTH, BASELINE, LATENCY, RATE, TARGETS, test_key)

# How a value is shown: unit, and what it is divided by
UNITS = {LATENCY: ("ns", 1), RATE: ("M/s", 1e6), BANDWIDTH: ("GB/s", 1e9)}
LIMIT_UNITS = {"hop": ("ns", 1), "uct_null": ("ns", 1), "spsc": ("M/s", 1e6),
               "copy": ("GB/s", 1e9)}


class Results:
    """A value for each key and round; plan.py makes the keys."""

    def __init__(self):
        self._values = defaultdict(dict)
        self._runs = []

    def add(self, key, round_, value):
        self._values[key][round_] = value

    def add_run(self, round_, test, name, run):
        self.add(test_key(test, name), round_, run.value)
        self._runs.append((round_, test, name, run))

    def median(self, key):
        """The median of all rounds, or None."""
        values = self._values.get(key)
        return statistics.median(values.values()) if values else None

    def ratio(self, key, over):
        """The median of the ratios, each within one round; or None."""
        values = self._values.get(key, {})
        others = self._values.get(over, {})
        ratios = [value / others[round_] for round_, value in values.items()
                  if others.get(round_)]
        return statistics.median(ratios) if ratios else None

    def verdicts(self):
        """For each target: itself, its value, and whether it is met.

        What was not measured has no value, and is not met.
        """
        for target in TARGETS:
            value = self.ratio(target.key, target.over)
            yield target, value, value is not None and target.met(value)

    def write_runs(self, path):
        """Every run of ucx_perftest, as CSV."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["round", "level", "test", "layout", "bytes",
                            "note", "contestant", "iterations", "median_ns",
                            "overall_ns", "value", "unit"])
            for round_, test, name, run in self._runs:
                unit, scale = UNITS[test.value]
                table.writerow([round_, test.level, test.name, test.layout,
                                test.size, test.note, name, run.iterations,
                                f"{run.median_ns:.1f}",
                                f"{run.overall_ns:.1f}",
                                f"{run.value / scale:.4g}", unit])

    def write_summary(self, path):
        """All figures' medians, and then the targets, as CSV."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["kind", "what", "bytes", "contestant", "unit",
                            "median", "min", "max", "ratio_to_" + BASELINE])
            for key, values in self._values.items():
                table.writerow(self._summary_row(key, values))
            for target, value, met in self.verdicts():
                table.writerow(["target", f"{target.what} {target.relation} "
                                f"{target.bound}", "", "",
                                "met" if met else "not met",
                                "" if value is None else f"{value:.3f}", "",
                                "", ""])

    def _summary_row(self, key, values):
        kind, what, name = key
        unit, scale, size = "", 1, ""
        ratio = None
        if kind == "test":
            unit, scale = UNITS[what.value]
            size = what.size
            ratio = self.ratio(key, test_key(what, BASELINE))
            what = what.title()
        elif kind == "limit":
            unit, scale = LIMIT_UNITS[what]
            what, name = f"{what} {name}", ""
        elif kind == "figure":
            unit, scale = what.unit, what.scale
            kind, what = what.part, what.row
        elif kind == "idle":
            unit, what = "ns", f"empty progress, {what} idle channels"
        return [kind, what, size, name, unit,
                *[f"{function(values.values()) / scale:.4g}"
                  for function in (statistics.median, min, max)],
                "" if ratio is None else f"{ratio:.3f}"]
