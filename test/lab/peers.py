#!/usr/bin/env python3
#
# What happens between peers in several virtual machines, at UCT's level: how they
# meet, what they send, and that nothing is left of it. life.py, beside this file,
# has how they die. Prints "ok NAME" or "not ok NAME" for each test, and lines with
# "#"; the script beside this file, test/lab/xen, makes TAP of it.
#
#   peers.py [--device DEVICE] [--guests GUEST...] [--only NAME...] [--cycles N]
#
# --device local, without guests, runs all agents here: for testing the tests.
#
# See file LICENSE for terms.

import json
import os
import sys
import time

from agents import (AT_ONCE, BUILD, CHANNEL_PAGES, CYCLES, DEATH, LIFETIME,
                    NOTICE, OUT_OF_MEMORY, PATIENCE, RECOVERY, Failed,
                    await_count, check, complaints, dom0, domid_of, expect, main,
                    pair, patiently, received, say, settled, signal, watches_of,
                    xenlab)

# How often two connect to each other at the same moment
MOMENTS = 20
# For how long a survivor sleeps that is not told of its peer's death
DOZE = 5
# Who sleeps opens a timer, when it first needs one
TIMERS = 1
# What the guests had in use after their boot
AFTER_BOOT = os.path.join(BUILD, 'test', 'lab',
                          f'after-boot-{os.environ.get("XENLAB_NAME")}')
COPIED = 10
COPIED_SIZE = 1000


def test_reaches_each_other(lab):
    one, two = lab.start(0), lab.start(1)
    address, = one.open()
    expect('reachable', '1', (two.open(), two.ask('reach', address))[1])
    expect('one reaches itself', lab.is_local,
           one.ask('reach', address) == '1')


def test_other_identities_are_unreachable(lab):
    """Each byte of the device address, changed, is another machine."""
    one, two, address = pair(lab)
    device, rest = address.split(':')
    for offset in range(0, len(device), 2):
        byte = int(device[offset:offset + 2], 16) ^ 0x55
        other = device[:offset] + f'{byte:02x}' + device[offset + 2:]
        expect(f'byte {offset // 2} changed: reachable', '0',
               two.ask('reach', f'{other}:{rest}'))
    two.end()
    expect('what is said about it', '', complaints(two))


def test_all_sizes(lab):
    one, two, _ = pair(lab)
    total = 0
    for mode, sizes in (('short', (0, 1, 8, 55, 56, 57, 1000, 2000)),
                        ('bcopy', (0, 8, 100, 4096, 8192, 16000)),
                        ('zcopy', (0, 8, 100, 4096, 8192, 16000))):
        for size in sizes:
            two.ask('send', 'x', mode, 20, size)
            total += 20
    two.ask('flush', 'x')
    received(one, total)


def test_at_the_same_moment(lab):
    """Both connect to each other, and send, before either has an answer."""
    one, two = lab.start(0), lab.start(1)
    addresses = one.open()[0], two.open()[0]
    for moment in range(MOMENTS):
        for agent, address in ((one, addresses[1]), (two, addresses[0])):
            agent.tell('connect', 'x', address)
            agent.tell('send', 'x', 'short', 100, 64)
            agent.tell('flush', 'x')
        for agent in (one, two):
            for _ in range(3):
                agent.accept()
        for agent in (one, two):
            received(agent, 100 * (moment + 1))
            agent.ask('disconnect', 'x')


def shared(lab, agents):
    """What both guests have in use of what does not grow with channels: event
    ports while nobody sleeps, watches (None: xenstored does not tell). The agents
    do not poll meanwhile, and leave the processors to those who are asked."""
    if lab.is_local:
        return []
    for agent in agents:
        agent.ask('stop')
    ports = [lab.resources(number)['ports'] for number in (0, 1)]
    found = list(zip(ports, watches_of(lab.guests[:2])))
    for agent in agents:
        agent.ask('go')
    return found


def test_many_at_once(lab):
    """However many channels: no event port, and one watch for the other guest."""
    one, two = lab.start(0), lab.start(1)
    two.open()
    addresses = one.open(AT_ONCE)
    before = shared(lab, (one, two))
    for number, address in enumerate(addresses):
        two.tell('connect', f'p{number}', address)
    two.tell('send', 'all', 'short', 3, 100)
    two.tell('flush', 'all')
    for _ in range(AT_ONCE + 2):
        two.accept()
    received(one, 3 * AT_ONCE)
    now = shared(lab, (one, two))
    say(f'ports and watches: {before}, with channels {now}')
    expect('ports and watches of the guests',
           [(ports, watched and watched + 1) for ports, watched in before], now)


def test_cycles(lab):
    """Over and over: nothing is more than before, also in the processes."""
    one, two = lab.start(0), lab.start(1)
    address, = one.open()
    two.open()
    two.ask('cycles', 10, address)
    received(one, 10)
    before = [agent.ask('count') for agent in (one, two)]
    resources = [lab.resources(number) for number in (0, 1)]
    start = time.monotonic()
    # a command may not take longer than we wait for its answer
    for first in range(0, lab.cycles, CYCLES):
        two.ask('cycles', min(CYCLES, lab.cycles - first), address)
    say(f'{lab.cycles} cycles took {time.monotonic() - start:.0f} s')
    received(one, 10 + lab.cycles)
    for number in (0, 1):
        lab.await_resources(number, resources[number])
    for agent, count in zip((one, two), before):
        await_count(agent, count)


def test_copied_out(lab):
    """Whether a message can still be changed by its sender when it is handed up:
    what is the default, and that it can be chosen."""
    for setting, is_copied in (('auto', not lab.is_local), ('on', True),
                               ('off', False), (None, not lab.is_local)):
        one, two, _ = pair(lab, [f'UCX_XSHM_COPY_OUT={setting}'] if setting
                           else [])
        two.ask('send', 'x', 'short', COPIED, COPIED_SIZE)
        two.ask('flush', 'x')
        received(one, COPIED)
        expect(f'messages copied out, with {setting}',
               str(COPIED if is_copied else 0), one.ask('copied'))
        lab.end_agents()


def test_request_is_secret(lab):
    """A request has the token in it. It stands as long as its target is stopped,
    which can read it, and no other guest can."""
    one, two = lab.start(0), lab.start(1)
    address, = one.open()
    two.open()
    domids = [domid_of(guest) for guest in lab.guests]
    folder = f'/local/domain/{domids[1]}/data/xshm/c/{domids[0]}'
    pid = one.ask('pid')

    def requests():
        return set(lab.shell(1, f'xenstore-list {folder} 2>/dev/null; '
                             'true').split())

    old = requests()
    signal(lab, 0, pid, 'STOP')
    try:
        two.ask('connect', 'x', address)
        two.tell('send', 'x', 'short', 3, 8)
        patiently('there is no request', lambda: requests() - old)
        two.accept()
        name, = requests() - old
        token = address[-32:]
        readers = [token in lab.shell(number, f'xenstore-read {folder}/{name} 2>&1; '
                                      'true') for number in (0, 1, 2)]
        expect('who can read it', [True, True, False], readers)
        expect('what the third guest sees of it', '', lab.shell(
            2, f'xenstore-ls -f {folder} 2>/dev/null; true').strip())
        shown = dom0('xenstore-ls', '-f', '-p', folder).stdout
        say(shown.replace(token, '(token)'))
        for line in shown.splitlines():
            check(line.endswith(f'(n{domids[1]},r{domids[0]})'),
                  'it has other permissions')
    finally:
        signal(lab, 0, pid, 'CONT')
    two.ask('flush', 'x')
    received(one, 3)


def begin_to_doze(lab, agents, seconds):
    """They are armed, so that their channels have ports."""
    for agent in agents:
        agent.tell('doze', 1, seconds)
    time.sleep(1)
    if lab.is_local:
        return
    for number in (0, 1):
        check(lab.resources(number)['ports'] > 0,
              f'{lab.guests[number]} has no ports')


def make_folders(lab, agent, address):
    """The first request to a guest makes two folders in xenstore, which stay."""
    used = lab.resources(0)
    agent.ask('connect', 'f', address)
    agent.ask('send', 'f', 'short', 1, 8)
    agent.ask('flush', 'f')
    agent.ask('disconnect', 'f')
    lab.await_resources(0, {name: used[name] for name in used
                            if name != 'nodes'})


def kill_case(lab, victim_sends, is_busy):
    """One of two is killed; a third one goes on to talk to the survivor. Who is not
    busy sleeps."""
    survivor, third = lab.start(0), lab.start(1)
    address, = survivor.open()
    make_folders(lab, survivor, third.open()[0])
    third.ask('connect', 'x', address)
    # The long ones are copied out, for which there is a pool from here on
    third.ask('send', 'x', 'bcopy', 10, COPIED_SIZE)
    third.ask('flush', 'x')
    # The third one's channel has its ports from here on
    survivor.ask('doze', 1, 1)
    before = [lab.resources(number) for number in (0, 1)]
    counts = survivor.ask('count')

    victim = lab.start(1)
    victims_address, = victim.open()
    sender, target, where = (victim, survivor, address) if victim_sends else \
                            (survivor, victim, victims_address)
    sender.ask('connect', 'v', where)
    sender.ask('send', 'v', 'short', 10, 8)
    sender.ask('flush', 'v')
    received(target, 20 if victim_sends else 10)
    pid = victim.ask('pid')
    if is_busy:
        sender.tell('stream', 'v', 3 * NOTICE)
        time.sleep(1)
    else:
        begin_to_doze(lab, (survivor, victim),
                      DOZE if victim_sends else PATIENCE)
    signal(lab, 1, pid, 'KILL')
    start = time.monotonic()
    if victim_sends and not is_busy:
        survivor.accept()
    if not victim_sends:
        say(survivor.accept())
        expect('endpoints that failed', '1',
               survivor.ask('failures', 1, DEATH[lab.device]))
        check(time.monotonic() - start <= DEATH[lab.device],
              'noticed too late')
        say(f'noticed after {time.monotonic() - start:.1f} s')
        survivor.ask('disconnect', 'v')
    lab.drop(victim)

    so_far = settled(survivor)
    third.ask('send', 'x', 'short', 10, 8)
    third.ask('flush', 'x')
    received(survivor, so_far + 10)
    for number in (0, 1):
        seconds = lab.await_resources(number, before[number])
        say(f'{lab.guests[number]}: all free again after {seconds:.0f} s')
    await_count(survivor, counts, TIMERS)


def test_killed_receiver_idle(lab):
    kill_case(lab, False, False)


def test_killed_receiver_busy(lab):
    kill_case(lab, False, True)


def test_killed_sender_idle(lab):
    kill_case(lab, True, False)


def test_killed_sender_busy(lab):
    kill_case(lab, True, True)


def test_peer_vanishes_half_way(lab):
    """The target dies between the request and its answer."""
    before = [lab.resources(number) for number in (0, 1)]
    one, two = lab.start(0), lab.start(1)
    address, = one.open()
    pid = one.ask('pid')
    two.open()
    signal(lab, 0, pid, 'STOP')
    two.ask('connect', 'x', address)
    two.ask('send', 'x', 'short', 3, 8)
    time.sleep(2)
    signal(lab, 0, pid, 'KILL')
    # of a process that has not answered, only "local" tells
    expect('endpoints that failed', '1',
           two.ask('failures', 1, DEATH['local'] if lab.is_local else NOTICE))
    two.end()
    lab.drop_agents()
    for number in (0, 1):
        lab.await_resources(number, before[number])


def test_request_of_a_dead_process(lab):
    """The sender dies before the target has looked at its request."""
    one, two = lab.start(0), lab.start(1)
    address, = one.open()
    one_pid, two_pid = one.ask('pid'), two.ask('pid')
    two.open()
    signal(lab, 0, one_pid, 'STOP')
    two.ask('connect', 'x', address)
    two.ask('send', 'x', 'short', 3, 8)
    time.sleep(2)
    signal(lab, 1, two_pid, 'KILL')
    time.sleep(1)
    signal(lab, 0, one_pid, 'CONT')

    # what the dead one left is no obstacle for another
    third = lab.start(1)
    third.open()
    third.ask('connect', 'x', address)
    third.ask('send', 'x', 'short', 3, 8)
    third.ask('flush', 'x')
    so_far = int(one.ask('wait', 3, PATIENCE).split()[0])
    if so_far not in (3, 6):
        raise Failed(f'{so_far} messages were received, neither 3 nor 6')


def left_nodes(lab):
    """The nodes that stand for a request or its refusal, in all guests."""
    return ''.join(lab.shell(
        number, 'xenstore-ls -f data/xshm 2>/dev/null | '
        "grep -E '^data/xshm/[cr]/[0-9]+/'; true")
        for number in range(len(lab.guests)))


def test_after_boot(lab):
    """Keep what the guests have in use, for the end."""
    used = [lab.resources(number) for number in range(len(lab.guests))]
    say(used)
    os.makedirs(os.path.dirname(AFTER_BOOT), exist_ok=True)
    with open(AFTER_BOOT, 'w') as file:
        json.dump(used, file)


def test_all_is_as_after_boot(lab):
    """But for xenstore's nodes: a machine keeps its identity, and folders."""
    with open(AFTER_BOOT) as file:
        before = json.load(file)
    for number, used in enumerate(before):
        del used['nodes']
        lab.await_resources(number, used)


def test_nothing_is_left(lab):
    """All have ended, and some were killed: their nodes are removed by the next
    process that starts, once they are old enough."""
    if lab.is_local:
        return
    deadline = time.monotonic() + LIFETIME + RECOVERY
    while left_nodes(lab):
        if time.monotonic() > deadline:
            expect('requests and refusals in xenstore', '', left_nodes(lab))
        time.sleep(10)
        for number in range(len(lab.guests)):
            lab.start(number).open()
        lab.end_agents()


def test_limit_of_grants(lab):
    """All pages but a few are taken: an error, one line, and no more of it."""
    one, two = lab.start(0), lab.start(1)
    address, = one.open()
    two.open()
    observer = lab.observer(1)
    observer.ask('eat', int(observer.ask('grants')) - CHANNEL_PAGES + 1)
    statuses = []
    for number in range(3):
        two.tell('connect', f'p{number}', address)
        status = two.answer()
        if status == 'ok':
            two.tell('send', f'p{number}', 'short', 1, 8)
            status = two.answer()
        statuses.append(status)
    observer.ask('release')
    say(statuses)
    say(complaints(two))
    expect('statuses', [OUT_OF_MEMORY] * len(statuses), statuses)
    expect('lines about it', 1, len(complaints(two).splitlines()))
    if 'limit' not in complaints(two):
        raise Failed('the line does not name the limit')

    # with pages it works again
    two.ask('connect', 'again', address)
    two.ask('send', 'again', 'short', 10, 8)
    two.ask('flush', 'again')
    received(one, 10)


def test_three_guests(lab):
    """Each sends to each other one."""
    agents = [lab.start(number) for number in range(len(lab.guests))]
    addresses = [agent.open()[0] for agent in agents]
    for sender in agents:
        for number, address in enumerate(addresses):
            if agents[number] is not sender:
                sender.ask('connect', f'g{number}', address)
    for sender in agents:
        sender.tell('send', 'all', 'bcopy', 50, 500)
        sender.tell('flush', 'all')
    for sender in agents:
        sender.accept()
        sender.accept()
    for agent in agents:
        received(agent, 50 * (len(agents) - 1))


def destroy_case(lab, is_busy):
    """The last guest is destroyed: the first one notices, and goes on with the
    second one."""
    last = len(lab.guests) - 1
    survivor, second, victim = lab.start(0), lab.start(1), lab.start(last)
    address, = survivor.open()
    second.open()
    second.ask('connect', 'x', address)
    second.ask('send', 'x', 'short', 10, 8)
    second.ask('flush', 'x')
    received(survivor, 10)
    before = lab.resources(0)
    counts = survivor.ask('count')
    survivor.ask('connect', 'v', victim.open()[0])
    survivor.ask('send', 'v', 'short', 10, 8)
    survivor.ask('flush', 'v')
    received(victim, 10)
    victim.ask('connect', 'x', address)
    victim.ask('send', 'x', 'short', 10, 8)
    victim.ask('flush', 'x')
    received(survivor, 20)
    if is_busy:
        survivor.tell('stream', 'v', 3 * NOTICE)
        time.sleep(1)
    xenlab('destroy', lab.guests[last])
    start = time.monotonic()
    if is_busy:
        say(survivor.accept())
    expect('endpoints that failed', '1',
           survivor.ask('failures', 1, DEATH[lab.device]))
    say(f'noticed after {time.monotonic() - start:.1f} s')
    check(time.monotonic() - start <= DEATH[lab.device], 'noticed too late')
    survivor.ask('disconnect', 'v')
    lab.drop(victim)
    lab.forget(last)
    second.ask('send', 'x', 'short', 10, 8)
    second.ask('flush', 'x')
    received(survivor, 30)
    seconds = lab.await_resources(0, before)
    say(f'all free again after {seconds:.0f} s')
    await_count(survivor, counts)


def test_destroyed_guest_idle(lab):
    destroy_case(lab, False)


def test_destroyed_guest_busy(lab):
    destroy_case(lab, True)


# name, text, function
TESTS = {
    'reach': ('peers in two guests reach each other', test_reaches_each_other),
    'identity': ('an address of another machine is unreachable, quietly',
                 test_other_identities_are_unreachable),
    'sizes': ('short, bcopy and zcopy of all sizes, checked', test_all_sizes),
    'same-moment': ('two connect to each other at the same moment',
                    test_at_the_same_moment),
    'many': (f'{AT_ONCE} connections at once', test_many_at_once),
    'cycles': ('connect and close over and over: nothing is left', test_cycles),
    'kill-receiver-idle': ('an idle receiver is killed',
                           test_killed_receiver_idle),
    'kill-receiver-busy': ('a receiver is killed while data flows',
                           test_killed_receiver_busy),
    'kill-sender-idle': ('an idle sender is killed', test_killed_sender_idle),
    'kill-sender-busy': ('a sender is killed while data flows',
                         test_killed_sender_busy),
    'half-way': ('a peer vanishes while a channel is set up',
                 test_peer_vanishes_half_way),
    'dead-request': ('a request of a process that is dead',
                     test_request_of_a_dead_process),
    'copied-out': ('messages are copied out by default between guests',
                   test_copied_out),
    'secret': ('no third guest can read a request', test_request_is_secret),
    'left': ('when all have ended, no request is left', test_nothing_is_left),
    'after-boot': ('what the guests have in use after their boot',
                   test_after_boot),
    'as-after-boot': ('in the end they have no more pages, ports and sockets',
                      test_all_is_as_after_boot),
    'grants': ('no pages to grant: an error, and one line that says why',
               test_limit_of_grants),
    'all-guests': ('every guest sends to every other', test_three_guests),
    'destroy-idle': ('a guest is destroyed, which was idle',
                     test_destroyed_guest_idle),
    'destroy-busy': ('a guest is destroyed while data flows to it',
                     test_destroyed_guest_busy)}


# What the device local cannot do: its peers are in no other guest
OF_XEN = ('grants', 'destroy-idle', 'destroy-busy', 'secret', 'after-boot',
          'as-after-boot')


if __name__ == '__main__':
    sys.exit(main(TESTS, OF_XEN))
