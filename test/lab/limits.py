#!/usr/bin/env python3
#
# What is to be seen between peers at UCT's level when a guest has met one of
# its limits: see test/lab/peers.py. The other limits are met by test/lab/xen.
# Prints "ok NAME" or "not ok NAME", and lines with "#".
#
#   limits.py --guests GUEST GUEST...
#
# See file LICENSE for terms.

import argparse
import json
import os
import subprocess
import sys
import time

from agents import (BUILD, CHANNEL_PAGES, INSTALL, LIMIT, NOTICE,
                    OUT_OF_MEMORY, XENLAB, Failed, Lab, complaints, expect,
                    received, run, say, xenlab)

TAKE = os.path.join(BUILD, 'test', 'functional', 'xen_take')

LIMIT_FILE = '/sys/module/xen_gntalloc/parameters/limit'
# For which there are pages, when xshm_info is asked
PEERS = 5


class Holder:
    """A process that keeps all of a resource of a guest."""

    def __init__(self, guest, resource):
        self.process = subprocess.Popen(
            [XENLAB, 'exec', guest, '--', TAKE, resource], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline().strip()
        if not line.startswith('took'):
            raise Failed(f'{resource} cannot be taken in {guest}: "{line}"')
        say(f'{guest}: {line} {resource}')

    def end(self):
        self.process.stdin.close()
        expect('status of who took all', 0, self.process.wait(NOTICE))


def end_of_a_guest_without_watch(lab):
    """The survivor listens already, and finds no watch for its peer's end."""
    last = len(lab.guests) - 1
    survivor, victim = lab.start(0), lab.start(last)
    survivor.open()
    address, = victim.open()
    holder = Holder(lab.guests[0], 'watches')
    survivor.ask('connect', 'v', address)
    survivor.ask('send', 'v', 'short', 10, 8)
    survivor.ask('flush', 'v')
    received(victim, 10)
    lines = complaints(survivor)
    say(lines)
    expect('lines about it', 1, len(lines.splitlines()))
    if 'watch-nb' not in lines:
        raise Failed('the line does not say how to raise the limit')

    xenlab('destroy', lab.guests[last])
    start = time.monotonic()
    expect('endpoints that failed', '1', survivor.ask('failures', 1, NOTICE))
    say(f'noticed after {time.monotonic() - start:.1f} s')
    expect('all lines', lines, complaints(survivor))
    lab.drop(victim)
    holder.end()


def peers_that_are_allowed(lab):
    """So many peers as xshm_info says can be sent to, and no more."""
    lab.shell(1, f'echo {PEERS * CHANNEL_PAGES} >{LIMIT_FILE}')
    limits = json.loads(lab.shell(
        1, f'"{INSTALL}/bin/xshm_info" -j; true'))['limits']
    allowed = limits['grants']['peers']
    expect('peers, as xshm_info says', PEERS, allowed)
    receiver, sender = lab.start(0), lab.start(1)
    addresses = receiver.open(allowed + 1)
    sender.open()
    for number in range(allowed):
        sender.ask('connect', f'p{number}', addresses[number])
        sender.ask('send', f'p{number}', 'short', 10, 8)
        sender.ask('flush', f'p{number}')
    received(receiver, 10 * allowed)
    expect('what is said so far', '', complaints(sender))

    sender.tell('connect', 'more', addresses[allowed])
    status = sender.answer()
    if status == 'ok':
        sender.tell('send', 'more', 'short', 1, 8)
        status = sender.answer()
    expect('status of one more', OUT_OF_MEMORY, status)
    say(complaints(sender))
    expect('lines about it', 1, len(complaints(sender).splitlines()))
    if f'may grant {PEERS * CHANNEL_PAGES} ' not in complaints(sender):
        raise Failed('the line does not tell how many pages there are')


def peers_and_limit(lab):
    try:
        peers_that_are_allowed(lab)
    finally:
        lab.shell(1, f'echo {LIMIT} >{LIMIT_FILE}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', choices=['xen'], default='xen')
    parser.add_argument('--guests', nargs='+', required=True)
    arguments = parser.parse_args()
    lab = Lab(arguments.device, arguments.guests)
    run(lab, 'peers', 'as many peers as xshm_info says, and no more',
        peers_and_limit)
    run(lab, 'watches',
        'without watches, the end of a guest is noticed all the same',
        end_of_a_guest_without_watch)


if __name__ == '__main__':
    sys.exit(main())
