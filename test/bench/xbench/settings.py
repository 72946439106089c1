"""The parts that compare ways to use xshm, rather than transports.

SPDX-License-Identifier: BSD-3-Clause
"""

from . import plan, report
from .process import BenchError

COPY_OUT = "copy-out"
CACHES = "caches"
RNDV = "rndv"
SLEEP = "sleep"
YIELD = "yield"
PARTS = [COPY_OUT, CACHES, RNDV, SLEEP, YIELD]

# Parts that are tests of ucx_perftest in two ways: what is shown is the first
# way over the second
TWO_WAYS = {COPY_OUT: (plan.COPY_OUT_TESTS, plan.COPY_OUT),
            CACHES: (plan.CACHES_TESTS, plan.CACHES)}


class Settings:
    """Measures and shows those of the parts that are wanted."""

    def __init__(self, parts, perftest, programs, results, seconds):
        self._parts = parts
        self._perftest = perftest
        self._programs = programs
        self._results = results
        self._seconds = seconds
        self._moves = {}  # (test, contestant): how it moves the data

    @staticmethod
    def contestants(parts):
        """Everybody who takes part in them."""
        return [*[side for part, (_, sides) in TWO_WAYS.items()
                  if part in parts for side in sides],
                *(plan.RNDV if RNDV in parts else []),
                *([side for side, _ in plan.SLEEP] if SLEEP in parts else []),
                *(plan.YIELD if YIELD in parts else [])]

    def round(self, round_, say):
        """One round of all parts; say(what) shows what is being done."""
        for part, (tests, sides) in TWO_WAYS.items():
            if part in self._parts:
                self._tests(round_, say, tests, sides)
        for part, measure in ((RNDV, self._rndv), (SLEEP, self._sleep),
                              (YIELD, self._yield)):
            if part in self._parts:
                measure(round_, say)

    def _rndv(self, round_, say):
        for test in plan.RNDV_TESTS if round_ == 0 else []:
            for side in plan.RNDV:
                say(f"{test.label()}: how {side.name} moves it")
                self._moves[test, side.name] = _move(
                    *self._perftest.accesses(side, test))
        self._tests(round_, say, plan.RNDV_TESTS, plan.RNDV)

    def _tests(self, round_, say, tests, sides):
        for test in tests:
            for side in in_turn(sides, round_):
                say(f"{test.label()}: {side.name}")
                self._results.add_run(
                    round_, test, side.name,
                    self._perftest.measure(side, test, self._seconds))

    def _sleep(self, round_, say):
        for pause in plan.SLEEP_PAUSES:
            for side, how in in_turn(plan.SLEEP, round_):
                self._add(round_, say, side, plan.sleep_figures(pause),
                          self._programs.pace, side, how, pause)

    def _yield(self, round_, say):
        for placement in plan.YIELD_PLACEMENTS:
            for side in in_turn(plan.YIELD, round_):
                self._add(round_, say, side, placement.figures(),
                          self._programs.pingpong, side, placement)

    def _add(self, round_, say, side, figures, measure, *arguments):
        say(f"{figures[0].row}: {side.name}")
        values = measure(*arguments, self._seconds)
        if len(values) != len(figures):
            raise BenchError(f"{len(values)} figures of {side.name} instead "
                             f"of {len(figures)}")
        for figure, value in zip(figures, values):
            self._results.add(plan.figure_key(figure, side.name), round_,
                              value)

    def report(self):
        """A table for each part."""
        for part, (tests, sides) in TWO_WAYS.items():
            if part in self._parts:
                names = [side.name for side in sides]
                report.tests(self._results, names, tests, *names)
                print()
        if RNDV in self._parts:
            report.moves(self._results, [side.name for side in plan.RNDV],
                         plan.RNDV_TESTS, self._moves)
            print()
        if SLEEP in self._parts:
            report.figures(
                self._results, "waiting for 8 bytes (UCP)",
                [side.name for side, _ in plan.SLEEP],
                [figure for pause in plan.SLEEP_PAUSES
                 for figure in plan.sleep_figures(pause)])
            print()
        if YIELD in self._parts:
            report.figures(
                self._results, "MPI, 8 bytes: who yields",
                [side.name for side in plan.YIELD],
                [figure for placement in plan.YIELD_PLACEMENTS
                 for figure in placement.figures()])
            print()


def _move(receiver, sender):
    """How data moved, by the accesses of both: direct ones, and by message."""
    for (direct, messages), way in ((receiver, "get"), (sender, "put")):
        if direct or messages:
            return way if direct else f"{way} by message"
    return "messages"


def in_turn(sides, round_):
    """The same, beginning with another one each round."""
    first = round_ % len(sides)
    return sides[first:] + sides[:first]
