"""The picture: latency and bandwidth by the size of the message.

SPDX-License-Identifier: BSD-3-Clause
"""

import os
import shutil
import tempfile

from .plan import (PICTURE_BANDWIDTH, PICTURE_CONTESTANTS, PICTURE_LATENCY,
                   size_text, test_key)
from .process import BenchError, run

SECONDS = 60
# Told apart by people who see colours otherwise, and in black and white
COLOURS = {"xshm": "#0072b2", "posix": "#d55e00", "posix+cma": "#009e73",
           "tcp": "#7f7f7f"}
POINTS = {"xshm": 7, "posix": 5, "posix+cma": 9, "tcp": 13}
TERMINALS = {".svg": "svg size 960,400 font 'sans-serif,13' "
                     "background '#ffffff'",
             ".png": "pngcairo size 1440,600 font 'sans,17' "
                     "background '#ffffff'"}

SCRIPT = """\
set terminal {terminal}
set output {output}
set multiplot layout 1,2
set border 3
set tics nomirror
set grid ytics lc rgb '#dddddd' lt 1
set logscale x 2
set xtics rotate by 35 right
set xlabel 'message size'
set lmargin 9
set key Left reverse
set logscale y
set key left top
set title 'UCP tag latency: one way, less is better'
set ylabel 'microseconds'
set xtics ({latency_tics})
set xrange [{latency_range}]
plot {latency}
set key right bottom
set title 'UCP tag bandwidth: more is better'
set ylabel 'GB/s'
set xtics ({bandwidth_tics})
set xrange [{bandwidth_range}]
plot {bandwidth}
unset multiplot
"""


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"


def _tics(tests):
    return ", ".join(f"{_quoted(size_text(test.size))} {test.size}"
                     for test in tests)


def _range(tests):
    # some more than the last, or its label is lost to rounding
    return f"{tests[0].size}:{tests[-1].size * 1.1}"


class _Curves:
    """Writes each curve's points into a file that gnuplot reads."""

    def __init__(self, results, folder):
        self._results = results
        self._folder = folder

    def plot(self, tests, scale):
        curves = [self._curve(name, tests, scale)
                  for name in PICTURE_CONTESTANTS]
        return ", ".join(filter(None, curves))

    def _curve(self, name, tests, scale):
        points = [(test.size, self._results.median(test_key(test, name)))
                  for test in tests]
        points = [(size, value) for size, value in points
                  if value is not None]
        if not points:
            return None
        path = os.path.join(self._folder, f"{tests[0].name}.{name}")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{size} {value / scale:.6g}\n"
                            for size, value in points)
        width = 2.5 if name == PICTURE_CONTESTANTS[0] else 1.5
        return (f"{_quoted(path)} with linespoints title {_quoted(name)} "
                f"lc rgb '{COLOURS[name]}' pt {POINTS[name]} ps 0.6 "
                f"lw {width}")


def draw(results, path):
    """Draw the picture; its file's name tells the format."""
    if shutil.which("gnuplot") is None:
        raise BenchError("no picture is drawn: install the package "
                         "gnuplot-nox")
    terminal = TERMINALS.get(os.path.splitext(path)[1])
    if terminal is None:
        raise BenchError(f"cannot draw \"{path}\": its name must end in "
                         + " or ".join(TERMINALS))
    with tempfile.TemporaryDirectory(prefix="xshm_bench.") as folder:
        curves = _Curves(results, folder)
        script = os.path.join(folder, "script")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SCRIPT.format(
                terminal=terminal, output=_quoted(path),
                latency_tics=_tics(PICTURE_LATENCY),
                latency_range=_range(PICTURE_LATENCY),
                latency=curves.plot(PICTURE_LATENCY, 1e3),
                bandwidth_tics=_tics(PICTURE_BANDWIDTH),
                bandwidth_range=_range(PICTURE_BANDWIDTH),
                bandwidth=curves.plot(PICTURE_BANDWIDTH, 1e9)))
        run(["gnuplot", script], dict(os.environ), SECONDS)
