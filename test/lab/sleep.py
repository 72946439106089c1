#!/usr/bin/env python3
#
# Processes in two virtual machines that sleep: nobody sleeps on while there is
# something for it, it is the peer that wakes it and not the timer, few
# notifications are sent, and while both sides are busy there is no system call.
# What test/functional/sleep shows on one kernel. Prints "ok NAME" or "not ok NAME"
# for each test, and lines with "#".
#
#   sleep.py [--device DEVICE] [--guests GUEST GUEST] [--only NAME...]
#
# See file LICENSE for terms.

import os
import re
import subprocess
import time

from agents import AGENT_LIFE, LIBRARY, PATIENCE, XENLAB, check, expect, say
from programs import PROGRAMS, main, succeeded

SLEEP = os.path.join(PROGRAMS, 'uct_sleep')
# Times that the process in the middle sleeps; its peer sleeps as often
SLEEPS = {'message': 2000, 'room': 600}
# Whoever wants to be woken wakes by its timer, after 1 ms at first, until the peer
# has said yes: it looks ten times a second, and so does the answer's reader
MAX_TIMEOUTS = 400
# Each way
BUSY_MESSAGES = 500000
# Of the thread that looks after all channels ten times a second
MAX_SERVICE_CALLS = BUSY_MESSAGES // 100
PERFTEST_COUNT = 300
# Until a process sleeps, for sure; and within which it has to have its message: many
# times what it takes
SLEEP_SECONDS = 1
WAKE_SECONDS = 20
TRACES = '/tmp/xshm-traces'


def pair(lab, options, around):
    """The one in the middle and its peer, in two guests; what passes between them
    is their addresses, and in the end the peer's figures. What stands in front of
    the program may have the guest's number in it."""
    middle, peer = (
        lab.launch(number, 'UCX_XSHM_STATS=y',
                    *(word.format(number) for word in around), SLEEP, '-d',
                    lab.device, '-x', role, *options)
        for number, role in enumerate(('middle', 'peer')))
    for source, target in ((middle, peer), (peer, middle), (peer, middle)):
        target.tell(source.answer())
    say(succeeded(middle))
    succeeded(peer)
    return middle, peer


def count(programs, counter):
    """A counter of UCX_XSHM_STATS, summed over processes."""
    return sum(int(number) for program in programs
               for line in program.log().splitlines()
               if re.match(r' *(all channels|interface):', line)
               for number in re.findall(rf'\b{counter}=([0-9]+)', line))


def say_counts(programs):
    """Beside the naive way, which notifies and wakes once for each message."""
    messages = count(programs, 'received')
    sent = count(programs, 'notifications_sent')
    wakes = count(programs, 'notifications_received')
    say(f'{messages} messages; {sent / messages:.3f} notifications and '
        f'{wakes / messages:.3f} wake-ups a message (naive: 1 and 1), '
        f'{count(programs, "wakes_without_work")} of them without work; '
        f'{count(programs, "sleeps")} sleeps, {count(programs, "timeouts")} '
        'with a timer')
    return sent / messages


def check_woken(programs, at_least):
    """By their peers, and not by looking once in a while."""
    check(count(programs, 'sleeps') >= at_least, 'they did not sleep')
    check(count(programs, 'timeouts') <= MAX_TIMEOUTS,
          f'{count(programs, "timeouts")} sleeps were with a timer')
    check(count(programs, 'notifications_received') > 0, 'nobody was notified')


def test_messages(lab):
    programs = pair(lab, ['-n', SLEEPS['message'], '-r', 20000],
                    ['UCX_XSHM_SPIN=0'])
    say_counts(programs)
    check_woken(programs, SLEEPS['message'])


def test_room(lab):
    """Many messages are on the way: one notification is for several."""
    programs = pair(lab, ['-n', SLEEPS['room'], '-w', 1000, '-l', 1000,
                          '-r', 500],
                    ['UCX_XSHM_SPIN=0', 'UCX_XSHM_RING_SIZE=4k'])
    check(say_counts(programs) < 1, 'as many notifications as messages')
    check_woken(programs, SLEEPS['room'])
    check(count(programs, 'stalls') > 0, 'there was always room')


def test_without_endpoint(lab):
    """It hears of a peer by its service alone, and has no channel yet."""
    sleeper, sender = lab.start(0), lab.start(1)
    address, = sleeper.open()
    sender.open()
    sender.ask('connect', 'x', address)
    sleeper.tell('nap', 1, PATIENCE)
    time.sleep(SLEEP_SECONDS)
    start = time.monotonic()
    sender.ask('send', 'x', 'short', 1, 8)
    count, sleeps = map(int, sleeper.accept().split())
    took = time.monotonic() - start
    say(f'the message was there after {took:.2f} s and {sleeps} sleeps')
    expect('messages', 1, count)
    check(sleeps > 0, 'it did not sleep')
    check(took < WAKE_SECONDS, 'it was woken late')
    lab.drop(sleeper, sender)


# Prints, for each thread, its number of calls: between the marks of uct_sleep if
# it has them, else all
COUNT_CALLS = r'''
    FNR == 1 { if (NR > 1) report(); total = within = begun = is_worker = 0 }
    /chdir\("xshm-busy-end"\)/ { begun = 0 }
    { ++total; within += begun }
    /chdir\("xshm-busy-begin"\)/ { begun = is_worker = 1 }
    END { report() }
    function report() {
        print (is_worker ? "worker " within : "service " total) }'''


def calls_of(lab, number):
    """Of the threads of a guest's process that was traced."""
    words = lab.shell(number, 'awk ' + "'" + ' '.join(COUNT_CALLS.split())
                      + f"' {TRACES}.{number}/trace.*").split()
    return list(zip(words[::2], map(int, words[1::2])))


def test_busy(lab):
    for number in range(2):
        lab.shell(number, f'rm -rf {TRACES}.{number}; '
                  f'mkdir -m 777 {TRACES}.{number}')
    programs = pair(lab, ['-w', 16, '-r', 0, '-b', BUSY_MESSAGES],
                    ['UCX_XSHM_YIELD=0', 'strace', '-ff', '-o',
                     TRACES + '.{}/trace', '-e', 'trace=all'])
    for number, program in enumerate(programs):
        calls = dict(calls_of(lab, number))
        say(f'{program.name}: {BUSY_MESSAGES} messages each way: '
            f'{calls["worker"]} system calls of the worker\'s thread, '
            f'{calls["service"]} of the service\'s in its life')
        expect('system calls while both are busy', 0, calls['worker'])
        check(calls['service'] <= MAX_SERVICE_CALLS,
              f'{calls["service"]} system calls of the service')
    expect('notifications', 0, count(programs, 'notifications_sent'))


class Perftest:
    """ucx_perftest of the first guest, as a process whose output was read. It does
    not spin: where the machine is fast, an answer comes before it would sleep."""

    def __init__(self, lab, *arguments):
        self.text = subprocess.run(
            [XENLAB, 'exec', '--timeout', str(AGENT_LIFE), '--user', 'mpi',
             lab.guests[0], '--', 'ucx_pair', lab.guests[1],
             f'LD_PRELOAD={LIBRARY}', 'UCX_TLS=xshm', 'UCX_XSHM_STATS=y',
             'UCX_XSHM_SPIN=0', '--', *arguments, '-E', 'sleep', '-n',
             str(PERFTEST_COUNT), '-w', '10'],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True).stdout

    def log(self):
        return self.text


def test_perftest(lab):
    """At UCT's level ucx_perftest polls, whatever it is told."""
    for arguments in ('-t', 'tag_lat', '-s', '8'), ('-t', 'ucp_am_lat'):
        client = Perftest(lab, *arguments)
        say(re.findall(r'^Final:.*', client.text, re.M))
        say_counts([client])
        check_woken([client], PERFTEST_COUNT // 2)


TESTS = {
    'messages': ('sleeping for messages: the peer wakes, not the timer',
                 test_messages),
    'room': ('sleeping for messages and for room', test_room),
    'first': ('an interface without endpoints wakes for its first message',
              test_without_endpoint),
    'busy': ('no system call of the worker while both sides are busy',
             test_busy),
    'perftest': ('ucx_perftest -E sleep: tagged and active messages',
                 test_perftest)}

if __name__ == '__main__':
    main(TESTS)
