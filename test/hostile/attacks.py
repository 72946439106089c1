#!/usr/bin/env python3
#
# A hostile peer (hostile.c) attacks a victim, an agent (test/functional/uct_agent.c)
# that exchanges messages with a good peer at the same time. After each attack that
# goes on, with its data right; in the end the victim has grown by nothing, and has
# written few lines. Prints "ok NAME" or "not ok NAME" for each attack, and lines
# with "#"; the scripts beside this file and test/lab/hostile make TAP of it.
#
#   attacks.py [--device DEVICE] [--guests VICTIM HOSTILE GOOD] [--only NAME...]
#   attacks.py --ucp
#
# See file LICENSE for terms.

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                '..', 'lab'))
from agents import (AGENT, BUILD, FAILURES, INSTALL, MANY, PATIENCE, XENLAB,
                    Failed, Lab, await_count, check, expect,
                    received, say)  # noqa: E402

HOSTILE = os.path.join(BUILD, 'test', 'hostile', 'hostile')
LIBRARY = os.environ.get('XSHM_TEST_PRELOAD', os.path.join(
    INSTALL, 'lib', 'ucx', 'libuct_xshm.so.0'))
LIFE = 1800
# Seconds of traffic beside each attack: it may last longer
TRAFFIC = 1
# What the victim may have more in the end: its memory, and lines in its log. A
# leak of anything that is attacked would be a multiple.
MORE_RESIDENT = 16 * 1024 * 1024
# A line of each kind may be repeated this often in the run (platform/complain.h)
MAX_LINES = 250
MEMORY = 5000
# How often a receiver lies, about 258 pages each time, and how many pages it gains
# by that: the rest is used again for it (platform/xen/xen_mem.c)
LIES = 9
MAX_KEPT = 2048
PAGE = 4096
# After which pages that were given back would be freed
POOL_SECONDS = 1.5
# How often the machine of one that has the pages mapped seems to have ended
ENDS = 3
# Closed channels that a domain may keep, of 770 pages each, and event channels
# that it may make a process allocate (platform/xen/xen_mem.c, xen_wake.c)
KEPT_CHANNELS = 11
MAX_PORTS = 128


class Site(Lab):
    """Where victim, hostile and good peer are."""

    def __init__(self, device, guests):
        super().__init__(device, guests)
        if self.is_local:
            self.guests = ['here'] * 3

    def command(self, guest, user, settings, device):
        if settings and settings[0] == 'hostile':
            command = [HOSTILE, '-d', device]
            # Whoever owns a machine may do what it likes there
            user = 'root'
        else:
            command = ['env', f'LD_PRELOAD={LIBRARY}',
                       'UCX_LOG_FILE=stderr', 'UCX_LOG_LEVEL=warn',
                       *settings, AGENT, '-d', device]
        if self.is_local:
            return command
        return [XENLAB, 'exec', '--timeout', str(LIFE), '--user', user, guest,
                '--', *command]


class Scene:
    """A victim with a good peer: messages go both ways."""

    def __init__(self, site):
        self.site = site
        self.victim = site.start(0, ['UCX_XSHM_STATS=n'])
        self.good = site.start(2)
        self.address, = self.victim.open()
        self.good_address, = self.good.open()
        self.good.ask('connect', 'v', self.address)
        self.victim.ask('connect', 'g', self.good_address)
        self.to_good = self.to_victim = 0
        self.talk()
        self.pid = self.victim.ask('pid')

    def talk(self):
        """Some messages of all kinds, both ways, checked."""
        for mode, size in (('short', 8), ('short', 1000), ('bcopy', 5000)):
            for sender, name in ((self.good, 'v'), (self.victim, 'g')):
                sender.ask('send', name, mode, 20, size)
                sender.ask('flush', name)
            self.to_victim += 20
            self.to_good += 20
        received(self.victim, self.to_victim)
        received(self.good, self.to_good)

    def neighbour(self):
        """An address on the hostile peer's machine."""
        if self.site.is_local:
            return self.good_address
        agent = self.site.start(1)
        address, = agent.open()
        agent.end()
        self.site.agents.remove(agent)
        return address

    def start_traffic(self):
        self.victim.tell('wait', MANY, TRAFFIC)
        self.good.tell('stream', 'v', TRAFFIC)

    def end_traffic(self):
        """Messages a second that the good peer could send."""
        self.victim.accept()
        count, status = self.good.accept().split(' ', 1)
        # The last one may have found no room when the time was over
        check(status in ('Success', 'Operation timed out'),
              f'the good peer: {status}')
        self.to_victim += int(count)
        self.talk()
        return int(count) / TRAFFIC

    def resident(self):
        text = self.shell(f'grep VmRSS /proc/{self.pid}/status')
        return int(text.split()[1]) * 1024

    def shell(self, command):
        return self.victim.ask('shell', command)

    def lines(self):
        return [line for line in self.victim.log().splitlines()
                if re.search(r' (WARN|ERROR|FATAL) |ioctl|xengnttab|xencall',
                             line)]


def attacker(site):
    return site.start(1, ['hostile'])


def simple(name, line=None):
    """An attack that the hostile program does alone."""
    def run(scene, hostile):
        return hostile.ask('attack', name, scene.address)
    return run, line


def rma(scene, hostile):
    return hostile.ask('attack', 'rma', scene.address, scene.memory_key)


def after_rma(scene, hostile):
    expect('memory is as it was', '1', scene.victim.ask('intact'))
    expect('a right one', 'refused 0',
           hostile.ask('attack', 'rma-right', scene.address, scene.memory_key))
    scene.victim.ask('forget')
    expect('one with a stale key', 'refused 1',
           hostile.ask('attack', 'rma-right', scene.address, scene.memory_key))


def receipt(name, count=1):
    """The victim sends to the hostile peer, which does not play by the rules."""
    def run(scene, hostile):
        address = hostile.ask('listen', scene.neighbour(), scene.address)
        hostile.tell('receive', name, count)
        for _ in range(count):
            scene.victim.ask('connect', 'h', address)
            scene.victim.tell('stream', 'h', 1)
            scene.victim.answer()
            scene.victim.ask('disconnect', 'h')
        return hostile.accept()
    return run, None


def impostor(scene, hostile):
    """Somebody says to be a process that the victim wants to connect to."""
    friend = scene.site.start(2)
    address, = friend.open()
    process = bytes.fromhex(address.split(':')[1])[1:9][::-1].hex()
    answer = hostile.ask('attack', 'impostor', scene.address, process)
    scene.victim.ask('connect', 'f', address)
    scene.victim.ask('send', 'f', 'short', 10, 8)
    scene.victim.ask('flush', 'f')
    received(friend, 10)
    scene.victim.ask('disconnect', 'f')
    friend.end()
    scene.site.agents.remove(friend)
    return answer


def given_pages(scene, hostile):
    """Over and over, so that what is used again is looked at, too."""
    address = hostile.ask('listen', scene.neighbour(), scene.address)
    hostile.tell('receive', 'look', 5)
    for _ in range(5):
        scene.victim.ask('connect', 'h', address)
        scene.victim.ask('send', 'h', 'short', 1, 100)
        scene.victim.ask('flush', 'h')
        scene.victim.ask('disconnect', 'h')
    return hostile.accept()


def deferred(scene):
    """Pages that the victim's kernel could not free: it notes each."""
    return int(scene.site.shell(
        0, "dmesg | grep -c 'deferring g.e.'; true"))


def send_until_it_fails(victim, address):
    """A message is in the ring before the receiver can end the channel."""
    failed = int(victim.ask('failures', 0, 0))
    victim.ask('connect', 'h', address)
    victim.ask('send', 'h', 'short', 1, 100)
    expect('endpoints that failed', str(failed + 1),
           victim.ask('failures', failed + 1, PATIENCE))
    victim.ask('disconnect', 'h')


def send_to_friend(scene, victim):
    """Ten messages to the third machine."""
    friend = scene.site.start(2)
    victim.ask('connect', 'f', friend.open()[0])
    victim.ask('send', 'f', 'short', 10, 100)
    victim.ask('flush', 'f')
    received(friend, 10)
    return friend


def liar(scene, hostile):
    """A receiver says that it has unmapped all, and has not. What the victim's
    kernel has to keep for it is bounded; and what is sent to another machine
    afterwards is not in what it keeps."""
    before = deferred(scene)
    victim = scene.site.start(0, ['UCX_XSHM_RING_SIZE=1m'])
    victim.open()
    address = hostile.ask('listen', scene.neighbour(), scene.address)
    hostile.tell('receive', 'lie', LIES)
    for _ in range(LIES):
        send_until_it_fails(victim, address)
        time.sleep(POOL_SECONDS)
    hostile.accept()
    kept = deferred(scene) - before
    friend = send_to_friend(scene, victim)
    # The liar was sent the first message only
    found, _, looked_at = hostile.ask('look', filled(9)).split()
    scene.site.drop(victim, friend)
    expect('places where the last message to another machine is found', '0',
           found)
    expect('what was looked at', str(LIES), looked_at)
    check(kept <= MAX_KEPT, f'the kernel keeps {kept} pages')
    return f'{LIES} lies, and the kernel keeps {kept} pages'


def seeming_end(scene, hostile):
    """A receiver has the pages, and its machine seems to have ended: that is no
    reason to free them."""
    before = deferred(scene)
    address = hostile.ask('listen', scene.neighbour(), scene.address)
    hostile.tell('receive', 'seem-to-end', ENDS)
    for _ in range(ENDS):
        send_until_it_fails(scene.victim, address)
        time.sleep(2)
    hostile.accept()
    expect('pages that the kernel keeps', before, deferred(scene))
    return f'{ENDS} seeming ends'


def kept_open(scene, hostile):
    """A receiver never reads what comes, nor gives anything back: at some time it
    gets no more, and others do."""
    victim = scene.site.start(0, ['UCX_XSHM_RING_SIZE=3m'])
    victim.open()
    address = hostile.ask('listen', scene.neighbour(), scene.address)
    hostile.tell('receive', 'keep-open', KEPT_CHANNELS)
    for _ in range(KEPT_CHANNELS):
        victim.ask('connect', 'h', address)
        victim.ask('send', 'h', 'short', 1, 100)
        victim.ask('flush', 'h')
        victim.ask('disconnect', 'h')
    hostile.accept()
    time.sleep(1)
    victim.ask('connect', 'h', address)
    victim.tell('send', 'h', 'short', 1, 100)
    answer = victim.answer()
    check(answer.startswith('error'), f'one more channel: {answer}')
    expect('lines about it', 1, victim.log().count('has not unmapped'))
    friend = send_to_friend(scene, victim)
    scene.site.drop(victim, friend)
    return f'after {KEPT_CHANNELS} channels: {answer}'


def ports_of(scene):
    return int(scene.site.shell(0, "grep -c 'evtchn:' /proc/interrupts; true"))


def ports(scene, hostile):
    """A peer wants to be woken on each of many channels by another port."""
    before = ports_of(scene)
    answer = hostile.ask('attack', 'ports', scene.address)
    time.sleep(2)
    more = ports_of(scene) - before
    check(0 < more <= MAX_PORTS, f'the victim has {more} ports for it')
    return f'{answer}, and {more} of the victim\'s for them'


def flood(scene, hostile):
    """Nodes for the victim change as fast as xenstored lets them. Meanwhile the
    good peer's messages come, and another peer can connect."""
    hostile.tell('attack', 'flood', scene.address)
    friend = scene.site.start(2)
    friend.open()
    start = time.monotonic()
    friend.ask('connect', 'v', scene.address)
    friend.ask('send', 'v', 'short', 10, 100)
    friend.ask('flush', 'v')
    seconds = time.monotonic() - start
    scene.to_victim += 10
    scene.talk()
    friend.end()
    scene.site.agents.remove(friend)
    return f'{hostile.accept()}; another peer connected in {seconds:.1f} s'


def filled(seed, length=32):
    """What utest_fill() writes, as hexadecimal digits."""
    mask = 2**64 - 1
    text = ''
    for _ in range(length):
        seed = (seed + 0x9e3779b97f4a7c15) & mask
        value = ((seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9) & mask
        text += f'{(value ^ (value >> 30)) & 0xff:02x}'
    return text


# name: text, function, what the victim must have said
RULE = 'which cannot be: the channel is closed'
COMMON = {
    'types': ('records of unknown types', *simple('types', RULE)),
    'lengths': ('wrong lengths', *simple('lengths', RULE)),
    'ids': ('wrong ids', *simple('ids', RULE)),
    'wrap-at-start': ('WRAP at the start of the ring',
                      *simple('wrap-at-start', RULE)),
    'close-size': ('CLOSE with a size', *simple('close-size', RULE)),
    'wrap-loop': ('a lap around the ring in three lines, for ever',
                  *simple('wrap-loop', RULE)),
    'skip-loop': ('SKIP and WRAP that lead to each other',
                  *simple('skip-loop', RULE)),
    'moving-headers': ('headers that change while they are read',
                       *simple('moving-headers', RULE)),
    'random-lines': ('a ring full of anything, laps at random',
                     *simple('random-lines', RULE)),
    'layout': ('wrong layouts', *simple('layout', 'refused a peer')),
    'wake-lines': ('lines for waking up at random, and a flood of them',
                   *simple('wake-lines')),
    'live': ('a sender that lives and dies, over and over', *simple('live')),
    'wrong-token': ('a flood of requests with wrong tokens',
                    *simple('wrong-token')),
    'half': ('half set-ups', *simple('half')),
    'rma': ('wrong operations on memory, with a right key', rma, None),
    'ahead': ('credits that run ahead', *receipt('ahead')),
    'backwards': ('credits that run backwards', *receipt('backwards')),
    'write-all': ('a return page full of anything', *receipt('write-all')),
    'never-read': ('a receiver that never reads', *receipt('never-read')),
    'zero': ('pages given to a peer are zero but for what was sent to it',
             given_pages, None)}
LOCAL = {
    'garbage': ('packets that are no messages',
                *simple('garbage', 'no message of ours')),
    'socket-types': ('messages of wrong types and sides',
                     *simple('socket-types', 'is malformed')),
    'versions': ('a flood of other versions', *simple('versions', 'version')),
    'memory': ('memory that could be taken away',
               *simple('memory', "refused a peer's memory")),
    'sizes': ('wrong sizes of memory', *simple('sizes', 'no size of a channel')),
    'shrink': ('memory that is taken away later', *simple('shrink', RULE)),
    'replay': ('replayed requests', *simple('replay', 'is malformed')),
    'unread': ('a flood of requests whose answers nobody reads',
               *simple('unread')),
    'many': ('more channels than there may be', *simple('many')),
    'connections': ('connections that say nothing', *simple('connections')),
    'bells': ('descriptors that nobody can be woken by', *simple('bells')),
    'blocking-bell': ('a descriptor that would block who notifies',
                      *simple('blocking-bell')),
    'impostor': ('a peer under the name of another one', impostor, None)}
XEN = {
    'values': ('nodes with malformed values', *simple('values', 'is malformed')),
    'names': ('nodes with wrong names', *simple('names')),
    'grefs': ('pages that were not granted', *simple('grefs')),
    'num-pages': ('wrong numbers of pages', *simple('num-pages')),
    'moving-refs': ('references that change while they are read',
                    *simple('moving-refs')),
    'replay': ('replayed requests', *simple('replay')),
    'lie': ('a receiver that says it has unmapped, and has not', liar, None),
    'refusals': ('a flood of requests that stay', *simple('refusals')),
    'ports': ('another port for each channel', ports, 'event channels'),
    'flood': ('a flood of changes in xenstore', flood, 'is malformed'),
    'seem-to-end': ('a receiver whose machine seems to end', seeming_end, None),
    'keep-open': ('a receiver that keeps what was closed', kept_open, None)}


# After these the victim has pages that it may not free: the peer may have them
KEEPERS = ('lie', 'seem-to-end', 'keep-open')


def run(scene, name, text, attack, line):
    start = time.monotonic()
    hostile = attacker(scene.site)
    before = len(scene.lines())
    error = None
    try:
        if name == 'rma':
            scene.memory_key = scene.victim.ask('memory', MEMORY)
        told = attack_with_traffic(scene, hostile, attack)
        if name == 'rma':
            after_rma(scene, hostile)
        if line is not None:
            # Of many lines of a kind only the first ones are written
            check(any(line in each for each in scene.lines()),
                  f'the victim does not say "{line}"')
    except FAILURES as failure:
        error = failure
    scene.site.drop(hostile)
    print(f'{"ok" if error is None else "not ok"} {text}', flush=True)
    if error is None:
        say(f'{told}; {len(scene.lines()) - before} lines; '
            f'{time.monotonic() - start:.1f} s')
    else:
        say(error)
        say(hostile.log())
        say('\n'.join(scene.victim.log().splitlines()[-40:]))
    return error is None


# The victim does one thing at a time: it cannot stream to the hostile peer while
# it waits for the good one
RECEIPTS = ('ahead', 'backwards', 'write-all', 'never-read', 'zero', 'impostor',
            'lie', 'seem-to-end', 'keep-open', 'flood')


def attack_with_traffic(scene, hostile, attack):
    attacks = {**COMMON, **LOCAL, **XEN}
    if attack in [attacks[name][1] for name in RECEIPTS if name in attacks]:
        told = attack(scene, hostile)
        scene.talk()
        return told
    scene.start_traffic()
    told = attack(scene, hostile)
    return f'{told}; {scene.end_traffic():.0f} messages/s beside it'


# Without sanitizers: it needs none, and its process has no library of theirs
RPC = os.environ.get('XSHM_TEST_RPC', os.path.join(BUILD, 'test', 'functional',
                                                   'ucp_rpc'))
RPC_PORT = 21000
RPC_REQUESTS = 1000


def sockets():
    """Names of the processes of this user that listen for peers."""
    with open('/proc/net/unix') as table:
        return set(re.findall(rf'@xshm\.{os.geteuid()}\.([0-9a-f]{{16}})$',
                              table.read(), re.M))


def start_rpc(role, port, log):
    """A process that uses UCP: UCX's listener needs tcp besides."""
    return subprocess.Popen(
        [RPC, role, '-p', str(port), '-n', str(RPC_REQUESTS)], stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'LD_PRELOAD': LIBRARY.split()[-1],
             'UCX_TLS': 'xshm,tcp,self', 'UCX_XSHM_STATS': 'y',
             'UCX_LOG_FILE': 'stderr'})


def text_of(log):
    log.seek(0)
    return log.read()


def await_ready(server, log):
    deadline = time.monotonic() + PATIENCE
    while 'READY' not in text_of(log):
        check(server.poll() is None and time.monotonic() < deadline,
              f'the server does not start: {text_of(log)}')
        time.sleep(0.01)


def strangers(site):
    """Two processes use UCP; somebody without their tokens wants to connect to
    both. Nothing of it is mapped, all is counted, and they go on."""
    before = sockets()
    port = RPC_PORT + os.getpid() % 10000
    logs = [tempfile.TemporaryFile('w+') for _ in range(2)]
    servers = [start_rpc('server', port + i, log)
               for i, log in enumerate(logs)]
    for server, log in zip(servers, logs):
        await_ready(server, log)
    victims = sockets() - before
    expect('processes that can be attacked', 2, len(victims))
    hostile = attacker(site)
    for name in victims:
        address = (1).to_bytes(1, 'little') + \
            int(name, 16).to_bytes(8, 'little') + bytes(20)
        say(hostile.ask('attack', 'wrong-token', ':' + address.hex()))
    for i, server in enumerate(servers):
        with open(f'/proc/{server.pid}/maps') as maps:
            check('memfd:hostile' not in maps.read(), 'something was mapped')
        expect('status of a client', 0,
               start_rpc('client', port + i, subprocess.DEVNULL).wait())
        server.terminate()
        expect('status of a server', 0, server.wait())
    hostile.end()
    site.agents.remove(hostile)
    for log in logs:
        refused = sum(map(int, re.findall(r'refused_requests=([0-9]+)',
                                          text_of(log))))
        # The others were for interfaces that there are not
        check(refused >= 100, f'{refused} refused requests were counted')
        say(f'{refused} of them were for an interface that there is')


def run_strangers(site):
    text = 'without its token, nobody gets anything mapped by a process with UCP'
    try:
        strangers(site)
        print(f'ok {text}')
    except Failed as failure:
        print(f'not ok {text}')
        say(failure)
    site.drop_agents()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='local')
    parser.add_argument('--guests', nargs='*', default=[])
    parser.add_argument('--only', nargs='*', default=[])
    parser.add_argument('--attacks-only', action='store_true',
                        help='do not look what the victim has in the end')
    parser.add_argument('--ucp', action='store_true',
                        help='attack processes that use UCP, without a token')
    options = parser.parse_args()
    site = Site(options.device, options.guests)
    site.is_looked_at = not options.attacks_only
    if options.ucp:
        run_strangers(site)
        return
    attacks = {**COMMON, **(LOCAL if site.is_local else XEN)}
    names = options.only or list(attacks)
    scene = Scene(site)
    scene.start_traffic()
    say(f'without an attack: {scene.end_traffic():.0f} messages/s')
    attack_all(scene, attacks, [name for name in names if name not in KEEPERS],
               'the victim has not grown, nor its log', 0)
    keepers = [name for name in names if name in KEEPERS]
    if keepers:
        attack_all(Scene(site), attacks, keepers,
                   'what the victim has to keep for those is bounded',
                   MAX_KEPT * PAGE)


def before_attacks(scene):
    """Between guests, what is opened once for all peers comes with the first
    attack: None."""
    return scene.victim.ask('count') if scene.site.is_local else None


def attack_all(scene, attacks, names, text, more_shared):
    """These attacks. In the end the victim has no more descriptors, and at most
    so many bytes more of shared memory; then all agents end."""
    site = scene.site
    counts, resident = before_attacks(scene), None
    for name in names:
        if run(scene, name, *attacks[name]):
            # What is opened once for all peers is there after the first attack
            now = scene.victim.ask('count')
            say(f'descriptors and shared memory of the victim: {now}')
            counts = counts or now
            resident = resident or scene.resident()
            continue
        # They may be in the middle of something
        site.drop_agents()
        scene = Scene(site)
        counts, resident = before_attacks(scene), None
    if not site.is_looked_at:
        site.drop_agents()
        return
    counts = counts or scene.victim.ask('count')
    resident = resident or scene.resident()
    try:
        descriptors, shared = counts.split()
        await_count(scene.victim, f'{descriptors} {int(shared) + more_shared}')
        grown = scene.resident() - resident
        say(f'the victim has grown by {grown // 1024} KiB, and has written '
            f'{len(scene.lines())} lines')
        check(grown <= MORE_RESIDENT, 'it has grown')
        check(len(scene.lines()) <= MAX_LINES, 'it has written too much')
        scene.talk()
        site.end_agents()
        print(f'ok {text}')
    except Failed as failure:
        print(f'not ok {text}')
        say(failure)
    site.drop_agents()


if __name__ == '__main__':
    sys.exit(main())
