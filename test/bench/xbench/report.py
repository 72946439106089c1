"""The figures as text, for people.

SPDX-License-Identifier: BSD-3-Clause
"""

from .plan import (BASELINE, HOP, IDLE_CHANNELS, LATENCY, SUBJECT, AM_BCOPY,
                   AM_LAT, AM_RATE, TAG_1M, TAG_1M_HEAP, TAG_64K, TAG_64K_HEAP,
                   TAG_LAT, RECEIVE, SEND, figure_key, idle_key,
                   instructions_key, limit_key, test_key)
from .results import UNITS

NO_FIGURE = "-"

# What no transport can be better than, and what it is
LIMITS = {
    AM_LAT: (HOP, "hop of one line"),
    TAG_LAT: (HOP, "hop of one line"),
    AM_RATE: (limit_key("spsc", "64"), "bare ring"),
    AM_BCOPY: (limit_key("copy", "memcpy 8192"), "memcpy"),
    TAG_64K: (limit_key("copy", "two-copy-64K 65536"), "two copies"),
    TAG_1M: (limit_key("copy", "two-copy-64K 1048576"), "two copies"),
    TAG_64K_HEAP: (limit_key("copy", "two-copy-64K 65536"), "two copies"),
    TAG_1M_HEAP: (limit_key("copy", "two-copy-64K 1048576"), "two copies"),
}

# Each limit once more, with what it says
LIMIT_LINES = [
    (HOP, "ns", 1, "one-way hop of a cache line that both sides write"),
    (limit_key("hop", "ring"), "ns", 1,
     "the same, each side writing its own lines in turn"),
    (limit_key("spsc", "64"), "M/s", 1e6, "64-byte messages by a bare ring"),
    (limit_key("uct_null", "am_short"), "ns", 1,
     "UCT am_short of \"self\": UCX's share of a send and a receive"),
    (limit_key("uct_null", "progress"), "ns", 1,
     "UCT progress of an empty worker"),
    (limit_key("copy", "memcpy 8192"), "GB/s", 1e9, "memcpy, 8 KiB"),
    (limit_key("copy", "memcpy 1048576"), "GB/s", 1e9, "memcpy, 1 MiB"),
    (limit_key("copy", "one-copy 65536"), "GB/s", 1e9,
     "one copy from what the other side wrote, 64 KiB"),
    (limit_key("copy", "one-copy 1048576"), "GB/s", 1e9, "the same, 1 MiB"),
    (limit_key("copy", "two-copy-64K 65536"), "GB/s", 1e9,
     "two copies through 64 KiB, both sides at once, 64 KiB"),
    (limit_key("copy", "two-copy-64K 1048576"), "GB/s", 1e9,
     "the same, 1 MiB"),
]


def _number(value):
    return NO_FIGURE if value is None else f"{value:.3g}" if value < 100 \
        else f"{value:.0f}"


def _table(rows):
    widths = [max(len(row[column]) for row in rows)
              for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width)
                  for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def _scaled(value, scale):
    return None if value is None else value / scale


def limits(results):
    print("This machine's limits")
    rows = [(f"  {text}", _number(_scaled(results.median(key), scale)), unit)
            for key, unit, scale, text in LIMIT_LINES
            if results.median(key) is not None]
    if rows:
        _table(rows)


def tests(results, names, chosen, subject=SUBJECT, baseline=BASELINE):
    """A line for each test: everybody's median, and the ratio of two."""
    ratio = f"{subject}/{baseline}"
    rows = [("medians", "", *names, ratio, "limit", "")]
    for test in chosen:
        unit, scale = UNITS[test.value]
        key, what = LIMITS.get(test, (None, ""))
        limit = results.median(key)
        rows.append((
            test.label(), unit,
            *[_number(_scaled(results.median(test_key(test, name)), scale))
              for name in names],
            _number(results.ratio(test_key(test, subject),
                                  test_key(test, baseline))),
            _number(_scaled(limit, scale)),
            what if limit is not None else ""))
    _table(rows)
    if any(test.value == LATENCY for test in chosen):
        print("(ns one way: less is better; M/s and GB/s: more is better)")


def moves(results, names, chosen, how):
    """A line for each test: everybody's median, and how it moved the data."""
    rows = [("medians", "", *[cell for name in names for cell in (name, "")])]
    for test in chosen:
        unit, scale = UNITS[test.value]
        rows.append((test.label(), unit, *[
            cell for name in names for cell in (
                _number(_scaled(results.median(test_key(test, name)), scale)),
                how[test, name])]))
    _table(rows)


def figures(results, title, names, rows):
    """A line for each figure: everybody's median."""
    _table([(title, "", *names),
            *[(f"  {row.row}", row.unit, *[
                _number(_scaled(results.median(figure_key(row, name)),
                                row.scale)) for name in names])
              for row in rows]])


def idle(results, names):
    rows = [("empty progress, ns", *names, "")]
    for channels in IDLE_CHANNELS:
        values = [results.median(idle_key(name, channels)) for name in names]
        if any(value is not None for value in values):
            rows.append((f"  {channels} idle channels",
                         *map(_number, values), ""))
    if len(rows) > 1:
        _table(rows)


def instructions(results, names):
    rows = [("instructions", *names)]
    for what in [SEND, RECEIVE, *(idle_instructions(channels)
                                  for channels in IDLE_CHANNELS)]:
        values = [results.median(instructions_key(name, what))
                  for name in names]
        if any(value is not None for value in values):
            rows.append((f"  {what}", *[
                NO_FIGURE if value is None else f"{value:.1f}"
                for value in values]))
    if len(rows) > 1:
        _table(rows)


def idle_instructions(channels):
    """The name under which these instructions are kept."""
    return f"empty progress, {channels} idle channels"


def targets(results):
    """The targets with their verdicts; returns whether all are met."""
    print("Targets (median of the rounds' ratios)")
    all_met = True
    rows = []
    for target, value, met in results.verdicts():
        all_met = all_met and met
        verdict = "met" if met else "NOT MET"
        if value is None:
            verdict = "NOT MEASURED"
        rows.append((f"  {target.what}",
                     NO_FIGURE if value is None else f"{value:.2f}",
                     f"{target.relation} {target.bound:g}", verdict))
    _table(rows)
    return all_met
