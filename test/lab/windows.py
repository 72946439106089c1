#!/usr/bin/env python3
#
# Memory that one peer allocates and another one accesses: directly between
# virtual machines, where it was granted, and by message, where not. The same
# agents, options and output as peers.py.
#
# See file LICENSE for terms.

import re
import sys
import time

from agents import (DEATH, LIMIT, NOTICE, Failed, await_count, await_mapped,
                    complaints, expect, main, say, signal)

SIZE = 1 << 20
# Of those that are allocated over and over: with its table, 18 pages
SMALL = 64 << 10
# Larger than what the first page of a table can name
LARGE = 8 << 20
PAGE = 4096
# Windows that one keeps, and pages that may be kept from being freed: a quarter of
# gntalloc's limit
HELD = 1000
KEPT = LIMIT // 4
# Stands for the address of memory that is not allocated yet
ADDRESS = object()
LOG = ('UCX_LOG_LEVEL=debug', )
BY_MESSAGE = ('UCX_XSHM_RMA=message', )

def domid(lab, number):
    return lab.shell(number, 'xenstore-read domid').strip()


def allow(lab, number):
    """What lets memory be granted to a guest."""
    if lab.is_local:
        return LOG
    return (*LOG, f'UCX_XSHM_ALLOW={domid(lab, number)}')


def allow_both(lab):
    if lab.is_local:
        return LOG
    return (*LOG, f'UCX_XSHM_ALLOW={domid(lab, 0)},{domid(lab, 1)}')


def ways(agent):
    """Accesses that an agent, which ends by that, has made: directly, and by
    message."""
    agent.end()
    found = re.findall(r'made (\d+) direct accesses and (\d+) by message',
                       agent.log())
    return tuple(sum(int(pair[way]) for pair in found) for way in (0, 1))


def expect_way(agent, way):
    direct, messages = ways(agent)
    say(f'{agent.name}: {direct} direct, {messages} by message')
    if (direct > 0, messages > 0) != (way == 'direct', way == 'message'):
        raise Failed(f'{agent.name}: {direct} direct accesses and {messages} by '
                     f'message instead of {way} ones: {agent.log()[-4000:]}')


def alloc(agent, size=SIZE):
    """The address of new memory, and the key of it."""
    address, key = agent.ask('alloc', size).split()
    return int(address), key


def put(user, address, value, key=None, name='x'):
    if key is not None:
        user.ask('key', key)
    user.ask('put', name, address, value)


def know(owner, name, address):
    """Make an endpoint as UCP does, which asks first whether it can."""
    expect('reachable', '1', owner.ask('reach', address))
    owner.ask('connect', name, address)


def window(lab, user_settings=LOG, size=SIZE):
    """An owner in the first guest, a user in the second one, with a key."""
    owner, user = lab.start(0, allow(lab, 1)), lab.start(1, user_settings)
    where, = owner.open()
    user.open()
    user.ask('connect', 'x', where)
    address, key = alloc(owner, size)
    user.ask('key', key)
    return owner, user, address


def way_case(lab, user_settings, way, size=SIZE):
    """What is put is there: at the start and at the end, and nowhere else."""
    owner, user, address = window(lab, (*LOG, *user_settings), size)
    if way == 'direct':
        owner.ask('stop')
    put(user, address, 11)
    put(user, address + size - 8, 22)
    for offset, value in ((0, 11), (8, 0), (size - 16, 0), (size - 8, 22)):
        expect(f'word at {offset}', str(value), owner.ask('word', offset))
    user.ask('release-key')
    expect_way(user, way)


def test_direct(lab):
    way_case(lab, (), 'direct')


def test_direct_large(lab):
    way_case(lab, (), 'direct', LARGE)


def test_message(lab):
    way_case(lab, BY_MESSAGE, 'message')


def test_early(lab):
    """UCP allocates before it opens an interface. The list names both machines, so
    it can be the same for all."""
    owner, user = lab.start(0, allow_both(lab)), lab.start(1, allow_both(lab))
    address, key = alloc(owner)
    where, = owner.open()
    user.open()
    user.ask('connect', 'x', where)
    owner.ask('stop')
    put(user, address, 55, key)
    expect('word', '55', owner.ask('word', 0))
    user.ask('release-key')
    expect_way(user, 'direct')


def test_known_by_connecting(lab):
    """Without a setting: memory is not granted while nobody is known, and
    granted to the only machine that is."""
    owner, early, late = lab.start(0, LOG), lab.start(1, LOG), lab.start(1, LOG)
    addresses = [agent.open()[0] for agent in (owner, early, late)]
    address, key = alloc(owner)
    for user in (early, late):
        user.ask('connect', 'x', addresses[0])
    put(early, address, 33, key)
    expect('word', '33', owner.ask('word', 0))
    early.ask('release-key')

    owner.ask('free')
    know(owner, 'y', addresses[2])
    address, key = alloc(owner)
    owner.ask('stop')
    put(late, address, 44, key)
    expect('word', '44', owner.ask('word', 0))
    late.ask('release-key')
    expect_way(early, 'direct' if lab.is_local else 'message')
    expect_way(late, 'direct')


def test_third_guest(lab):
    """It has the same key, and its accesses go by message."""
    owner, user = lab.start(0, LOG), lab.start(1, LOG)
    where, users = owner.open()[0], user.open()[0]
    know(owner, 'y', users)
    user.ask('connect', 'x', where)
    address, key = alloc(owner)
    third = lab.start(2, LOG)
    thirds, = third.open()
    third.ask('connect', 'x', where)
    put(third, address, 66, key)
    put(user, address + 8, 77, key)
    for offset, value in ((0, 66), (8, 77)):
        expect(f'word at {offset}', str(value), owner.ask('word', offset))
    for agent in (user, third):
        agent.ask('release-key')

    # now there are two that could be meant
    know(owner, 'z', thirds)
    address, key = alloc(owner)
    put(user, address, 88, key)
    expect('word', '88', owner.ask('word', 0))
    user.ask('release-key')
    expect_way(third, 'message')
    direct, messages = ways(user)
    if not direct or not messages:
        raise Failed(f'{direct} direct accesses, and {messages} by message')


def test_same_guest(lab):
    """What is granted to another guest can be mapped in this one, too."""
    owner = lab.start(0, allow(lab, 1), 'local')
    user = lab.start(0, LOG, 'local')
    where, = owner.open()
    user.open()
    user.ask('connect', 'x', where)
    address, key = alloc(owner)
    owner.ask('stop')
    put(user, address + SIZE - 8, 99, key)
    expect('word', '99', owner.ask('word', SIZE - 8))
    user.ask('release-key')
    expect_way(user, 'direct')
    if 'bytes are granted to domain' not in owner.log():
        raise Failed(f'the memory was not granted: {owner.log()}')


def await_all(lab, before):
    for number in (0, 1):
        seconds = lab.await_resources(number, before[number])
        say(f'{lab.guests[number]}: all free again after {seconds:.0f} s')


def owner_case(lab, *words):
    """The user has only put, and never sent. The owner is killed during one more
    command of the user, whose endpoint fails; nothing else happens to it."""
    user = lab.start(1, LOG)
    user.open()
    before = [lab.resources(number) for number in (0, 1)]
    owner = lab.start(0, allow(lab, 1))
    user.ask('connect', 'x', owner.open()[0])
    address, key = alloc(owner)
    await_mapped(owner, lambda: put(user, address, 1, key))
    pid = owner.ask('pid')
    user.tell(*(address if word is ADDRESS else word for word in words))
    time.sleep(1)
    signal(lab, 0, pid, 'KILL')
    start = time.monotonic()
    say(user.answer())
    expect('endpoints that failed', '1',
           user.ask('failures', 1, NOTICE))
    seconds = time.monotonic() - start
    say(f'noticed after {seconds:.2f} s')
    if seconds > DEATH[lab.device]:
        raise Failed('noticed too late')
    lab.drop(owner)
    user.ask('release-key')
    user.ask('disconnect', 'x')
    await_all(lab, before)


def test_owner_killed(lab):
    owner_case(lab, 'puts', 'x', ADDRESS, NOTICE)


def test_owner_killed_asleep(lab):
    owner_case(lab, 'doze', 1, NOTICE)


def test_user_killed(lab):
    """The owner can free the memory, and grant other memory."""
    owner = lab.start(0, allow(lab, 1))
    where, = owner.open()
    before = [lab.resources(number) for number in (0, 1)]
    victim = lab.start(1, LOG)
    victim.open()
    victim.ask('connect', 'x', where)
    address, key = alloc(owner)
    await_mapped(owner, lambda: put(victim, address, 1, key))
    pid = victim.ask('pid')
    victim.tell('puts', 'x', address, NOTICE)
    time.sleep(1)
    signal(lab, 1, pid, 'KILL')
    lab.drop(victim)
    owner.ask('free')
    await_all(lab, before)


def test_freed_while_used(lab):
    """The user writes to what the owner has freed: that is no other memory."""
    owner, user, address = window(lab)
    await_mapped(owner, lambda: put(user, address, 1))
    before = [lab.resources(number) for number in (0, 1)]
    user.tell('puts', 'x', address, 10)
    time.sleep(1)
    owner.ask('free')
    other, other_key = alloc(owner)
    say(user.answer())
    expect('word of other memory', '0', owner.ask('word', 0))
    user.ask('release-key')
    put(user, other, 2, other_key)
    expect('word of other memory', '2', owner.ask('word', 0))
    user.ask('release-key')
    owner.ask('free')
    await_all(lab, before)
    expect_way(user, 'direct')


def cycle(owner, user, number, is_released=True):
    address, key = alloc(owner, SMALL)
    put(user, address + 8 * (number % 1000), number + 1, key)
    expect('word', str(number + 1), owner.ask('word', 8 * (number % 1000)))
    if is_released:
        user.ask('release-key')
    owner.ask('free')


def test_cycles(lab):
    """Allocate, access and free, over and over: nothing is left."""
    owner, user = lab.start(0, allow(lab, 1)), lab.start(1, LOG)
    where, = owner.open()
    user.open()
    user.ask('connect', 'x', where)
    await_mapped(owner, lambda: user.ask('check', 'x'))
    cycle(owner, user, 0)
    before = [lab.resources(number) for number in (0, 1)]
    counts = [agent.ask('count') for agent in (owner, user)]
    start = time.monotonic()
    for number in range(lab.cycles):
        cycle(owner, user, number)
    say(f'{lab.cycles} cycles took {time.monotonic() - start:.0f} s')
    for agent, count in zip((owner, user), counts):
        await_count(agent, count)
    await_all(lab, before)
    expect_way(user, 'direct')


def test_never_unmapped(lab):
    """The user keeps a thousand windows that were freed: the owner's pages are
    bounded, and what is too much goes by message."""
    owner, user = lab.start(0, allow(lab, 1)), lab.start(1, LOG)
    where, = owner.open()
    user.open()
    user.ask('connect', 'x', where)
    user.ask('send', 'x', 'short', 1, 8)
    user.ask('flush', 'x')
    before = lab.resources(0)
    for number in range(HELD):
        cycle(owner, user, number, is_released=False)
    held = lab.resources(0)['pages'] - before['pages']
    say(f'{held} pages are held after {HELD} cycles')
    if held > KEPT + 2 * SMALL // PAGE:
        raise Failed(f'{held} pages are held, and may be {KEPT}')
    if not any('has not unmapped' in line
               for line in complaints(owner).splitlines()):
        raise Failed(f'the owner does not say so: {owner.log()[-4000:]}')
    direct, messages = ways(user)
    say(f'{direct} direct, {messages} by message')
    if not direct or not messages:
        raise Failed(f'{direct} direct accesses, {messages} by message')
    owner.end()
    seconds = lab.await_resources(0, before)
    say(f'all free again after {seconds:.0f} s')


TESTS = {
    'direct': ('put into granted memory of a peer that does nothing',
               test_direct),
    'large': ('the same, more than the first page of a table can name',
              test_direct_large),
    'message': ('the same by message, where the user says so', test_message),
    'early': ('memory that is allocated before an interface is opened',
              test_early),
    'known': ('memory is granted when the peer is known, not before',
              test_known_by_connecting),
    'third': ('a third guest accesses granted memory by message',
              test_third_guest),
    'same-guest': ('granted memory is direct in the same guest, too',
                   test_same_guest),
    'kill-user': ('who accesses granted memory is killed', test_user_killed),
    'kill-owner': ('the owner of granted memory is killed', test_owner_killed),
    'kill-idle': ('the same, while the user sleeps', test_owner_killed_asleep),
    'free': ('granted memory is freed while it is used', test_freed_while_used),
    'cycles': ('allocate, access and free over and over', test_cycles),
    'held': ('a peer never unmaps what was freed', test_never_unmapped)}

# What agents here cannot show
OF_XEN = ('third', 'same-guest', 'held')


if __name__ == '__main__':
    sys.exit(main(TESTS, OF_XEN))
