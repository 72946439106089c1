#
# What the tests between virtual machines share that run programs of
# test/functional in them, other than agents: where they run, and how they end. To
# be imported; agents.py has what lies below.
#
# See file LICENSE for terms.

import argparse
import os
import queue

from agents import BUILD, PATIENCE, Failed, Lab, run

PROGRAMS = os.path.join(BUILD, 'test', 'functional')


class Programs(Lab):
    """Guests, or this machine, in which programs run."""

    def command(self, guest, user, settings, device):
        # Only an observer is no program
        if not settings:
            return super().command(guest, user, settings, device)
        return self.program(guest, user, settings, [])

    def finish(self):
        """Each test has seen to the end of its programs."""

    def launch(self, number, *words):
        """Start a program, with its environment in front, in a guest."""
        return self.start(number, [str(word) for word in words])


def lines_of(program):
    """What a program writes until it ends."""
    lines = []
    try:
        while (line := program.answers.get(timeout=PATIENCE)) is not None:
            lines.append(line)
    except queue.Empty:
        raise Failed(f'{program.name}: it does not end; {program.log()}')
    return lines


def succeeded(program):
    """It has to end by itself, and well. Returns what it wrote."""
    text = '\n'.join(lines_of(program))
    if program.process.wait(PATIENCE) != 0:
        raise Failed(f'{program.name}: {text}\n{program.log()}')
    return text


def main(tests):
    """tests: for each name, a text and a function of the lab."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='local')
    parser.add_argument('--guests', nargs='*', default=[])
    parser.add_argument('--only', nargs='*', choices=tests)
    options = parser.parse_args()
    lab = Programs(options.device, options.guests)
    if lab.is_local:
        lab.guests = ['here'] * 3
    for name in options.only or tests:
        run(lab, name, *tests[name])

