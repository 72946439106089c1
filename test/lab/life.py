#!/usr/bin/env python3
#
# How peers end, and what does not end them, at UCT's level: every way in which a
# process can die, met by a survivor that sleeps, receives, sends, or has no room;
# processes and virtual machines that are stopped for a while; those that are saved
# and restored, or come back under the same number. Prints "ok NAME" or
# "not ok NAME" for each test, and lines with "#"; the scripts test/lab/xen and
# test/functional/peers make TAP of it.
#
#   life.py [--device DEVICE] [--guests GUEST...] [--only NAME...]
#           [--kills N] [--seed N]
#
# --device local, without guests, runs all agents here.
#
# See file LICENSE for terms.

import os
import random
import re
import subprocess
import sys
import time

from agents import (BUILD, CHANNEL_PAGES, CYCLES, DEATH, NOTICE, PATIENCE,
                    XENLAB, Failed, await_count, await_mapped, check, dom0,
                    domid_of, expect, main, pair, patiently, received, say,
                    settled, signal, watches, xenlab)

# For how long a process is stopped, by device, and a machine is paused. With "xen"
# that is longer than a request waits for its answer (platform/xen/xen_conn.c).
STOPPED = {'local': 5, 'xen': 40}
PAUSED = 35
# For how long a victim sends before it dies
STREAM = 0.4
# Messages that are sent meanwhile: more than a ring holds
STOPPED_COUNT = 300
STOPPED_SIZE = 1000
# Messages that fit into a ring of the default size
PUBLISHED = 20
# Channels before what is counted
FIRST_CYCLES = 10
# What a peer may have mapped secretly (XSHM_XEN_MEM_MAX_UNPROVED)
UNPROVED_PAGES = 2048
# How UCX calls what ends the operations of a failed endpoint
FAILURE = 'Endpoint timeout'
# Where the address stands in a packed key (docs/abi.md), and what is read there
KEY_BASE = slice(48, 64)
MEMORY = 4096
# A victim of the random kills lives at most for so long, in seconds, by device
MAX_LIFE = {'local': 0.5, 'xen': 2}
# Of the random kills, how many are of a victim that the survivor is not connected
# to yet. With "xen" that is noticed late (test/lab/peers.py, "half-way").
EARLY = {'local': 0.25, 'xen': 0}
# The program on UCP that recovers: 50 ms between two tries
RPC = os.path.join(BUILD, 'test', 'functional', 'ucp_rpc')
RPC_PORT = '17017'
RPC_REQUESTS = 1000
RPC_TRIES = 2400
# Makes xl give a guest a domain number that it has had (test/functional/domid.c)
DOMID_LIBRARY = os.path.join(BUILD, 'test', 'functional', '.libs', 'domid.so')


def killed(lab, victim, pid):
    signal(lab, 1, pid, 'KILL')


def exits(lab, victim, pid):
    finish(victim)
    victim.ask('exit')


def runs_another_program(lab, victim, pid):
    """The process goes on, as another program."""
    finish(victim)
    victim.ask('exec')
    return pid


def leaves_a_child(lab, victim, pid):
    finish(victim)
    child = victim.ask('fork')
    signal(lab, 1, pid, 'KILL')
    return child


def finish(victim):
    """Wait until it has done what it was told."""
    victim.tell('pid')
    while victim.accept() != victim.pid:
        pass


# Ways to end; each function returns the process that lives on, or None
WAYS = {'is killed': killed, 'exits without closing': exits,
        'calls exec': runs_another_program,
        'is killed, its child lives': leaves_a_child}

FIRST_WAY = 'is killed'


def exchange(one, two, name_of_one, name_of_two, count):
    """Each sends some to the other, by the endpoints of these names. Nobody else
    sends to "two"."""
    so_far = settled(one)
    for sender, name in ((one, name_of_two), (two, name_of_one)):
        sender.ask('send', name, 'short', count, 8)
        sender.ask('flush', name)
    received(one, so_far + count)


def meet(survivor, address, victim):
    """Endpoints in both directions, which work. @return The victim's address."""
    victims_address, = victim.open()
    victim.ask('connect', 'x', address)
    survivor.ask('connect', 'v', victims_address)
    exchange(survivor, victim, 'x', 'v', 10)
    received(victim, 10)


# What a survivor does when its peer dies: begin, and what is to be said of it in
# the end

def begins_to_sleep(survivor, victim):
    failed = int(survivor.ask('failures', 0, 0))
    survivor.tell('doze', failed + 1, PATIENCE)
    time.sleep(STREAM)


def begins_to_receive(survivor, victim):
    """Who is killed, is killed meanwhile; others end after it."""
    victim.tell('stream', 'x', STREAM)
    time.sleep(STREAM / 2)


def begins_to_send(survivor, victim):
    survivor.tell('stream', 'v', PATIENCE)
    time.sleep(STREAM / 2)


def ends_to_send(survivor):
    answer = survivor.accept()
    if not answer.endswith(FAILURE):
        raise Failed(f'sending ended with "{answer}"')


def begins_to_wait_for_room(survivor, victim):
    key = victim.ask('memory', MEMORY)
    base = int.from_bytes(bytes.fromhex(key[KEY_BASE]), 'little')
    victim.ask('stop')
    survivor.ask('fill', 'v', base, key)


def ends_to_wait_for_room(survivor):
    expect('get, flush, and requests that were purged',
           f'{FAILURE}, {FAILURE}, 3',
           survivor.ask('outcome', 'v'))


def wakes_up(survivor):
    survivor.accept()


def nothing(survivor):
    pass


# What begins before a death, and what has an answer before and after the failure
# is asked for
STATES = {
    'sleeps': (begins_to_sleep, wakes_up, nothing),
    'receives': (begins_to_receive, nothing, nothing),
    'sends': (begins_to_send, ends_to_send, nothing),
    'full': (begins_to_wait_for_room, nothing, ends_to_wait_for_room)}


def dies(lab, survivor, address, victim, state, way):
    """A victim comes and dies. @return The process that lives on, or None."""
    begin, before, after = STATES[state]
    meet(survivor, address, victim)
    victim.pid = victim.ask('pid')
    failed = int(survivor.ask('failures', 0, 0))
    begin(survivor, victim)
    living = WAYS[way](lab, victim, victim.pid)
    start = time.monotonic()
    before(survivor)
    expect(f'{way}: endpoints that failed', str(failed + 1),
           survivor.ask('failures', failed + 1, DEATH[lab.device]))
    seconds = time.monotonic() - start
    say(f'{way}: noticed after {seconds:.2f} s')
    if seconds > DEATH[lab.device]:
        raise Failed(f'{way}: noticed too late')
    after(survivor)
    survivor.ask('disconnect', 'v')
    return living


def death_case(lab, state):
    """One after the other dies in each way; what takes its place is a peer as any
    other. Those that live on are no obstacle to the resources' return."""
    survivor = lab.start(0)
    victims = [lab.start(1) for _ in range(len(WAYS) + 1)]
    address, = survivor.open()
    before = [lab.resources(number) for number in (0, 1)]
    living = []
    for victim, way in zip(victims, WAYS):
        living.append(dies(lab, survivor, address, victim, state, way))
        lab.agents.remove(victim)
        if way == FIRST_WAY:
            counts = measure(lab, survivor, before)
    for number in (0, 1):
        say(f'{lab.guests[number]}: all free again after '
            f'{lab.await_resources(number, before[number]):.0f} s')
    await_count(survivor, counts)
    meet(survivor, address, victims[-1])
    for pid in living:
        if pid is not None:
            signal(lab, 1, pid, 'KILL')
    for victim in victims[:-1]:
        victim.drop()


def measure(lab, survivor, before):
    """After the first death, before which a guest may have had no channels."""
    for number in (0, 1):
        note_folders(lab, number, before[number])
        lab.await_resources(number, before[number])
    return survivor.ask('count')


def note_folders(lab, number, before):
    """The folder for requests to another guest stays as long as that guest."""
    nodes = lab.resources(number).get('nodes')
    before.update({'nodes': nodes} if nodes else {})


def test_survivor_sleeps(lab):
    death_case(lab, 'sleeps')


def test_survivor_receives(lab):
    death_case(lab, 'receives')


def test_survivor_sends(lab):
    death_case(lab, 'sends')


def test_survivor_is_full(lab):
    death_case(lab, 'full')


def test_never_sent(lab):
    """Who has not sent anything asks, as UCX's keepalive does."""
    survivor, victim = lab.start(0), lab.start(1)
    survivor.open()
    address, = victim.open()
    survivor.ask('connect', 'v', address)
    await_mapped(victim, lambda: survivor.ask('check', 'v'))
    signal(lab, 1, victim.ask('pid'), 'KILL')
    expect('endpoints that failed', '1',
           survivor.ask('failures', 1, DEATH[lab.device]))
    lab.drop(victim)


def test_published_is_delivered(lab):
    """What a victim has sent is received, though nobody looked before it died."""
    survivor = lab.start(0)
    victims = [lab.start(1) for _ in WAYS]
    address, = survivor.open()
    living = []
    for number, (victim, way) in enumerate(zip(victims, WAYS)):
        survivor.ask('stop')
        victim.open()
        victim.ask('connect', 'x', address)
        victim.ask('send', 'x', 'short', PUBLISHED, STOPPED_SIZE)
        victim.ask('flush', 'x')
        victim.pid = victim.ask('pid')
        living.append(WAYS[way](lab, victim, victim.pid))
        time.sleep(0.5)
        survivor.ask('go')
        received(survivor, PUBLISHED * (number + 1))
        lab.agents.remove(victim)
    for victim, pid in zip(victims, living):
        if pid is not None:
            signal(lab, 1, pid, 'KILL')
        victim.drop()


def stopped_case(lab, stop, go, seconds):
    """Nothing is wrong: the other one waits, and then all is delivered."""
    survivor, other, address = pair(lab)
    others_address, = other.open()
    survivor.ask('connect', 'o', others_address)
    exchange(survivor, other, 'x', 'o', 10)
    pid = other.ask('pid')
    stop(lab, pid)
    survivor.tell('send', 'o', 'short', STOPPED_COUNT, STOPPED_SIZE)
    time.sleep(seconds)
    go(lab, pid)
    survivor.accept()
    received(other, 10 + STOPPED_COUNT)
    exchange(survivor, other, 'x', 'o', 10)
    for agent in (survivor, other):
        expect('endpoints that failed', '0', agent.ask('failures', 0, 0))


def test_stopped_process(lab):
    stopped_case(lab, lambda lab, pid: signal(lab, 1, pid, 'STOP'),
                 lambda lab, pid: signal(lab, 1, pid, 'CONT'),
                 STOPPED[lab.device])


def test_paused_guest(lab):
    stopped_case(lab, lambda lab, pid: xenlab('pause', lab.guests[1]),
                 lambda lab, pid: xenlab('unpause', lab.guests[1]), PAUSED)


def keep_all(lab, stuck, other, address, so_far):
    """Channels to a peer that accepts all and reads none, so that it keeps them
    mapped, until it goes on. @return The pages that the sender's guest had granted
    then, and what the sender had mapped."""
    stuck.ask('stop')
    other.ask('cycles', CYCLES, address)
    used, count = lab.resources(1), other.ask('count')
    say(f'with {CYCLES} channels: {used}, {count}')
    stuck.ask('go')
    received(stuck, so_far + CYCLES)
    return used.get('pages', 0), count


def test_never_unmaps(lab):
    """When the peer goes on, all is free again; but pages that were granted to
    another machine, which may keep them secretly, only up to a limit. The others
    are there for the next channels to it, until the sender ends."""
    stuck, other = lab.start(0), lab.start(1)
    address, = stuck.open()
    other.open()
    other.ask('cycles', FIRST_CYCLES, address)
    received(stuck, FIRST_CYCLES)
    before = [lab.resources(number) for number in (0, 1)]
    counts = [agent.ask('count') for agent in (stuck, other)]
    pages, _ = keep_all(lab, stuck, other, address, FIRST_CYCLES)
    # The first ones may have used up a part of the limit
    kept = max(0, (FIRST_CYCLES + CYCLES) * CHANNEL_PAGES - UNPROVED_PAGES)
    lab.await_resources(0, before[0])
    lab.await_resources(1, {name: value + kept * (name == 'pages')
                            for name, value in before[1].items()})
    await_count(stuck, counts[0])
    again, _ = keep_all(lab, stuck, other, address, FIRST_CYCLES + CYCLES)
    check(again <= pages, f'{again} pages the second time, and {pages} before')
    if lab.is_local:
        await_count(other, counts[1])
        return
    # What is still mapped when its owner ends, the kernel frees slowly
    await_count(stuck, counts[0])
    lab.drop(other)
    for number in (0, 1):
        lab.await_resources(number, before[number])


def random_death(lab, survivor, address, victim):
    """A victim and the survivor send to each other until the victim dies. @return
    The process that lives on, or None."""
    victims_address, = victim.open()
    victim.pid = victim.ask('pid')
    failed = int(survivor.ask('failures', 0, 0))
    survivor.ask('connect', 'v', victims_address)
    survivor.ask('send', 'v', 'short', 1, 8)
    if random.random() >= EARLY[lab.device]:
        survivor.ask('flush', 'v')
    life = MAX_LIFE[lab.device] * random.random()
    survivor.tell('stream', 'v', PATIENCE)
    victim.ask('connect', 'x', address)
    victim.tell('stream', 'x', life + STREAM)
    time.sleep(life)
    living = random.choice(list(WAYS.values()))(lab, victim, victim.pid)
    ends_to_send(survivor)
    expect('endpoints that failed', str(failed + 1),
           survivor.ask('failures', failed + 1, DEATH[lab.device]))
    survivor.ask('disconnect', 'v')
    return living


def test_random_deaths(lab):
    """Over and over, under load. Another peer is served all the time."""
    say(f'seed {lab.seed}')
    random.seed(lab.seed)
    survivor, companion, address = pair(lab)
    survivor.ask('connect', 'c', companion.ask('address'))
    exchange(survivor, companion, 'x', 'c', 1)
    before = [lab.resources(number) for number in (0, 1)]
    upcoming = lab.start(1)
    for number in range(lab.kills):
        victim, upcoming = upcoming, lab.start(1)
        living = random_death(lab, survivor, address, victim)
        if living is not None:
            signal(lab, 1, living, 'KILL')
        lab.drop(victim)
        exchange(survivor, companion, 'x', 'c', 1)
        if number == 0:
            upcoming.ask('pid')
            counts = measure(lab, survivor, before)
    upcoming.end()
    lab.agents.remove(upcoming)
    for number in (0, 1):
        lab.await_resources(number, before[number])
    await_count(survivor, counts)
    say(f'{lab.kills} victims; the survivor has received '
        f'{survivor.ask("wait", 0, 0)} (and bad ones)')


def as_domain(domid, *command):
    """A command in dom0 that makes a guest, under a number that it has had. @return
    Whether that was possible: Xen refuses it while anybody has the old one's pages
    mapped."""
    return dom0('env', f'LD_PRELOAD={DOMID_LIBRARY}', f'DOMID={domid}',
                'LIBXL_DOMID_REUSE_TIMEOUT=0', *command,
                check=False).returncode == 0


def is_up(guest):
    return subprocess.run([XENLAB, 'exec', guest, '--', 'true'], check=False,
                          stdin=subprocess.DEVNULL).returncode == 0


def start_as(guest, domid):
    patiently(f'{guest} cannot be started as domain {domid}',
              lambda: as_domain(domid, '/etc/xenlab/create', guest))
    patiently(f'{guest} does not come up', lambda: is_up(guest))


def restore_as(guest, domid):
    """As start_as(), of a guest that was saved."""
    patiently(f'{guest} cannot be restored as domain {domid}',
              lambda: as_domain(domid, 'xl', 'restore', f'/lab/save/{guest}'))
    dom0('rm', f'/lab/save/{guest}')


def move(lab, number, has_same_number):
    """Save a guest and restore it: as another domain, or under its number."""
    guest = lab.guests[number]
    domid = domid_of(guest)
    start = time.monotonic()
    xenlab('save', guest)
    saved = time.monotonic()
    if has_same_number:
        restore_as(guest, domid)
    else:
        xenlab('restore', guest)
    say(f'saved in {saved - start:.0f} s, restored in '
        f'{time.monotonic() - saved:.0f} s')
    expect('it has the same number', has_same_number, domid_of(guest) == domid)


def can_save_mapped(lab):
    """Linux writes to pages that were mapped before, when it unmaps them: in a pv
    guest that was restored, that is a fault of the kernel."""
    return lab.shell(1, 'cat /sys/hypervisor/guest_type').strip() != 'PV'


def saved_case(lab, has_same_number):
    """Old endpoints fail, new ones work."""
    survivor, other, address = pair(lab)
    old_address = other.ask('address')
    before = lab.resources(0)
    other.ask('send', 'x', 'short', 10, 8)
    other.ask('flush', 'x')
    received(survivor, 10)
    failing = [other]
    if can_save_mapped(lab):
        survivor.ask('connect', 'o', old_address)
        survivor.ask('send', 'o', 'short', 10, 8)
        survivor.ask('flush', 'o')
        failing.append(survivor)
    note_folders(lab, 0, before)
    move(lab, 1, has_same_number)
    for agent in failing:
        expect(f'{agent.name}: endpoints that failed', '1',
               agent.ask('failures', 1, NOTICE))
        agent.ask('disconnect', 'all')
    lab.await_resources(0, before)
    if not has_same_number:
        expect('the old address is reachable', '0',
               survivor.ask('reach', old_address))
    new_address = other.ask('address')
    expect('the new address is reachable', '1',
           survivor.ask('reach', new_address))
    other.ask('connect', 'x', address)
    survivor.ask('connect', 'o', new_address)
    exchange(survivor, other, 'x', 'o', 10)


def test_saved_guest(lab):
    saved_case(lab, False)


def test_saved_guest_same_number(lab):
    """As when a host saves all its guests, is started anew, and restores them."""
    saved_case(lab, True)


def test_same_number_again(lab):
    """A guest is destroyed and started under the same number. Of two survivors one
    sleeps, and is told of it; the other one finds another machine in its place."""
    last = len(lab.guests) - 1
    survivor, late, victim = lab.start(0), lab.start(0), lab.start(last)
    address, = survivor.open()
    late.open()
    before = lab.resources(0)
    meet(survivor, address, victim)
    old_address = victim.ask('address')
    late.ask('connect', 'v', old_address)
    late.ask('send', 'v', 'short', 10, 8)
    late.ask('flush', 'v')
    late_pid = late.ask('pid')
    signal(lab, 0, late_pid, 'STOP')
    watched = watches(lab.guests[0])
    domid = domid_of(lab.guests[last])
    survivor.tell('doze', 1, PATIENCE)
    xenlab('destroy', lab.guests[last])
    start = time.monotonic()
    expect('endpoints that failed', '1', survivor.accept())
    say(f'noticed after {time.monotonic() - start:.1f} s, asleep')
    if time.monotonic() - start > DEATH[lab.device]:
        raise Failed('noticed too late')
    expect('the folder for requests to it', '', lab.shell(
        0, f'xenstore-exists data/xshm/c/{domid} && echo there; true').strip())
    say(f'watches: {watched} before, {watches(lab.guests[0])} after it')
    if watched is not None:
        expect('watches', watched - 1, watches(lab.guests[0]))
    lab.forget(last)
    start_as(lab.guests[last], domid)
    expect('domain', domid, domid_of(lab.guests[last]))
    survivor.ask('disconnect', 'v')
    lab.drop(victim)

    victim = lab.start(last)
    new_address, = victim.open()
    signal(lab, 0, late_pid, 'CONT')
    expect('endpoints that failed', '1', late.ask('failures', 1, NOTICE))
    late.ask('disconnect', 'v')
    for agent in (survivor, late):
        expect('old and new address are reachable', '0 1',
               f'{agent.ask("reach", old_address)} '
               f'{agent.ask("reach", new_address)}')
    victim.ask('connect', 'x', address)
    survivor.ask('connect', 'v', new_address)
    exchange(survivor, victim, 'x', 'v', 10)
    note_folders(lab, 0, before)
    for agent in (survivor, victim):
        agent.ask('disconnect', 'all')
    lab.await_resources(0, before)


def rpc(lab, number, *arguments):
    """Start the RPC program (test/functional/ucp_rpc.c), whose connections are
    made by tcp."""
    command = lab.program(lab.guests[number], 'mpi',
                          ('UCX_TLS=xshm,tcp,self', 'UCX_TCP_CM_REUSEADDR=y',
                           'UCX_LOG_LEVEL=info'), [RPC, *arguments])
    return subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def end_server(lab, server):
    """What ends the command here does not end the program in a guest."""
    if lab.is_local:
        server.terminate()
    else:
        lab.shell(1, 'pkill -x ucp_rpc')
    server.wait(PATIENCE)


def test_recovering_program(lab):
    """A program on UCP, with its error handler: the server that it talks to is
    killed, and it goes on with the one that takes its place."""
    where = ('127.0.0.1' if lab.is_local else
             lab.shell(1, "getent hosts $(hostname) | awk '{ print $1 }'"))
    where = ('-a', where.strip(), '-p', RPC_PORT)
    dying = rpc(lab, 1, 'server', *where, '-k', str(RPC_REQUESTS // 2))
    while 'READY' not in dying.stdout.readline():
        if dying.poll() is not None:
            raise Failed('the server does not start')
    client = rpc(lab, 0, 'client', *where, '-n', str(RPC_REQUESTS), '-r',
                 str(RPC_TRIES))
    dying.communicate(timeout=PATIENCE)
    server = rpc(lab, 1, 'server', *where)
    output = client.communicate(timeout=PATIENCE)[0]
    end_server(lab, server)
    say('\n'.join(line for line in output.splitlines() if 'CLIENT' in line))
    if not re.search(r'reconnects=[1-9]\d* ok$', output, re.MULTILINE):
        raise Failed(f'the client has not recovered: {output}')
    ways = re.findall(r'ep_cfg\[\d+\]:.* am\((\S+)', output)
    expect('active messages were carried by', f'xshm/{lab.device}',
           ways[-1] if ways else None)


def before_the_store(lab):
    """Two that are connected, one that is to be killed, and one that has not begun
    to connect: before xenstored stops to answer. @return All of them, and the first
    one's address."""
    survivor, other, address = pair(lab)
    stuck, victim = lab.start(0), lab.start(1)
    survivor.ask('connect', 'o', other.ask('address'))
    exchange(survivor, other, 'x', 'o', 10)
    survivor.ask('connect', 'v', victim.open()[0])
    survivor.ask('send', 'v', 'short', 1, 8)
    survivor.ask('flush', 'v')
    stuck.open()
    return survivor, other, stuck, victim, address


def test_store_is_silent(lab):
    """xenstored answers nobody for a while. Who is connected goes on, and notices
    its peer's death; who connects waits; a process that waits for it can end."""
    survivor, other, stuck, victim, address = before_the_store(lab)
    victim_pid = victim.ask('pid')
    dom0('pkill', '-STOP', 'xenstored')
    try:
        exchange(survivor, other, 'x', 'o', 10)
        signal(lab, 1, victim_pid, 'KILL')
        expect('endpoints that failed', '1',
               survivor.ask('failures', 1, DEATH[lab.device]))
        stuck.ask('connect', 'x', other.ask('address'))
        stuck.ask('send', 'x', 'short', 1, 8)
        start = time.monotonic()
        stuck.end()
        say(f'who waits for xenstored ended in {time.monotonic() - start:.0f} s')
        other.ask('connect', 'y', address)
        survivor.ask('disconnect', 'v')
    finally:
        dom0('pkill', '-CONT', 'xenstored')
    exchange(survivor, other, 'x', 'o', 10)
    lab.drop(stuck, victim)


def starts(lab, number):
    """A process that starts can use its other transports, and is told why not
    this one. @return What it was told."""
    command = lab.program(lab.guests[number], 'mpi', [], ['ucx_info', '-d'])
    return subprocess.run(command, check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=PATIENCE).stdout


def test_store_dies(lab):
    """xenstored is killed. The one that takes its place knows nothing of the guests
    that are there, and answers none. Who is connected goes on, and notices its
    peer's death; who waits for it can end; and who starts is told. Afterwards this
    lab is of no use."""
    survivor, other, stuck, victim, _ = before_the_store(lab)
    victim_pid = victim.ask('pid')
    others_address = other.ask('address')
    dom0('pkill', '-KILL', 'xenstored')
    exchange(survivor, other, 'x', 'o', 10)
    signal(lab, 1, victim_pid, 'KILL')
    expect('endpoints that failed', '1',
           survivor.ask('failures', 1, DEATH[lab.device]))
    survivor.ask('disconnect', 'v')
    dom0('xenstored', '--pid-file', '/run/xenstored.pid')
    exchange(survivor, other, 'x', 'o', 10)
    stuck.ask('connect', 'x', others_address)
    stuck.ask('send', 'x', 'short', 1, 8)
    for agent in (stuck, survivor, other):
        start = time.monotonic()
        agent.end()
        say(f'ended in {time.monotonic() - start:.0f} s')
    lab.agents = []
    victim.drop()
    start = time.monotonic()
    text = starts(lab, 1)
    say(f'ucx_info ended in {time.monotonic() - start:.0f} s')
    check('xenstored has not answered' in text, text)
    check(re.search('Device: local', text), text)


# name, text, function
TESTS = {
    'sleeps': ('a survivor that sleeps notices every way to die',
               test_survivor_sleeps),
    'receives': ('a survivor that receives notices every way to die',
                 test_survivor_receives),
    'sends': ('a survivor that sends notices every way to die',
              test_survivor_sends),
    'full': ('a survivor without room notices every way to die: what is '
             'outstanding ends', test_survivor_is_full),
    'never-sent': ('a peer is checked to which nothing was sent',
                   test_never_sent),
    'published': ('what was published before a death is delivered',
                  test_published_is_delivered),
    'stopped': ('a process is stopped for a while', test_stopped_process),
    'paused': ('a guest is paused for a while', test_paused_guest),
    'never-unmaps': (f'{CYCLES} channels to a peer that never unmaps',
                     test_never_unmaps),
    'random': ('processes die at random times, under load',
               test_random_deaths),
    'recovers': ('a program on UCP goes on when its server was killed',
                 test_recovering_program),
    'saved': ('a guest is saved and restored: old endpoints fail, new ones work',
              test_saved_guest),
    'saved-same': ('the same, under the same number',
                   test_saved_guest_same_number),
    'silent-store': ('xenstored does not answer for a while',
                     test_store_is_silent),
    'dead-store': ('xenstored is killed and started anew', test_store_dies),
    'same-number': ('a guest is destroyed, and comes back under its number',
                    test_same_number_again)}

# What the device local cannot do: its peers are in no other guest
OF_XEN = ('paused', 'saved', 'saved-same', 'silent-store', 'dead-store',
          'same-number')


if __name__ == '__main__':
    sys.exit(main(TESTS, OF_XEN))
