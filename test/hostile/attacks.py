#!/usr/bin/env python3
#
# A hostile peer (hostile.c) attacks a victim, an agent (test/functional/uct_agent.c)
# to which a good peer sends at the same time: how much of its rate is left is
# shown. After each attack that goes on, with its data right; in the end the victim
# has grown by nothing, and has written few lines. With --ucp the victim is a server
# that uses UCP, whose client asks it all the time, and the hostile peer does not
# know its token. Prints "ok NAME" or "not ok NAME" for each attack, and lines
# with "#"; the scripts beside this file and test/lab/hostile make TAP of it.
#
#   attacks.py [--device DEVICE] [--guests VICTIM HOSTILE GOOD] [--only NAME...]
#              [--ucp]
#
# See file LICENSE for terms.

import argparse
import collections
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                '..', 'lab'))
from agents import (AGENT, BUILD, FAILURES, INSTALL, PATIENCE, XENLAB,
                    Failed, Lab, await_count, check, expect,
                    received, say, signal, xenlab)  # noqa: E402

HOSTILE = os.path.join(BUILD, 'test', 'hostile', 'hostile')
LIBRARY = os.environ.get('XSHM_TEST_PRELOAD', os.path.join(
    INSTALL, 'lib', 'ucx', 'libuct_xshm.so.0'))
LIFE = 1800
# A short attack is repeated for so many seconds, and for as long the good peer's rate
# is measured before it: a machine may be more or less busy with other things
SAMPLE = 0.5
# As in platform/complain.h: the first lines of a kind, and then one after so long
BURST = 8
COMPLAIN_SECONDS = 10
# For what the victim writes, or counts, to be seen here
SEEN_SECONDS = 10
# What the victim may have more in the end: its memory, and lines in its log. A
# leak of anything that is attacked would be a multiple.
MORE_RESIDENT = 16 * 1024 * 1024
# A line of each kind may be repeated this often in the run (platform/complain.h)
MAX_LINES = 250
# What a process opens once for all machines, when the first one wants to be woken:
# the device for event channels
DEVICES = 1
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
# Messages of the attack whose payload changes (hostile.c)
NUM_PAYLOADS = 100
# What uses UCP needs no sanitizers, and its process has no library of theirs
RPC = os.environ.get('XSHM_TEST_RPC', os.path.join(BUILD, 'test', 'functional',
                                                   'ucp_rpc'))
RPC_PORT = 21000
HEADER = os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', '..',
                      'include', 'xshm', 'xshm_abi.h')


def abi_version():
    with open(HEADER, encoding='utf-8') as header:
        return int(re.search(r'XSHM_ABI_VERSION (\d+)u', header.read())[1])


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
        elif settings and settings[0] == 'rpc':
            # UCX's listener needs tcp besides
            command = ['env', f'LD_PRELOAD={LIBRARY.split()[-1]}',
                       'UCX_TLS=xshm,tcp,self', 'UCX_XSHM_STATS=y',
                       'UCX_TCP_CM_REUSEADDR=y', 'UCX_LOG_FILE=stderr',
                       RPC, *settings[1:]]
        else:
            command = ['env', f'LD_PRELOAD={LIBRARY}',
                       'UCX_LOG_FILE=stderr', 'UCX_LOG_LEVEL=warn',
                       *settings, AGENT, '-d', device]
        if self.is_local:
            return command
        return [XENLAB, 'exec', '--timeout', str(LIFE), '--user', user, guest,
                '--', *command]


    def shell(self, number, command):
        """Without an agent here, which may be built with sanitizers."""
        if self.is_local:
            return subprocess.run(['sh', '-c', command], text=True, check=True,
                                  stdout=subprocess.PIPE).stdout
        return super().shell(number, command)

    def end_attacker(self):
        if not self.is_local:
            xenlab('destroy', self.guests[1])
            self.forget(1)

    def start_attacker(self):
        if not self.is_local:
            xenlab('start', self.guests[1])
            give_identity(self)

    def rpc(self, number, *words):
        """A program that uses UCP (test/functional/ucp_rpc.c)."""
        return self.start(number, ['rpc', *(str(word) for word in words)])

    def name_of(self, pid):
        """By which a process on the victim's machine listens for peers."""
        name, = re.findall(r'@xshm\.\d+\.([0-9a-f]{16})', self.shell(
            0, f'for link in /proc/{pid}/fd/*; do inode=$(readlink $link | '
            "sed -n 's/^socket:.\\([0-9]*\\).$/\\1/p'); "
            'grep " ${inode:-none} @xshm" /proc/net/unix; done; true'))
        return name


def give_identity(site):
    """The machine of the attacker has one as soon as anybody has used xshm there.
    Without one it counts as a machine that is gone, whose channels end."""
    peer = site.start(1)
    peer.open()
    site.drop(peer)


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
        # When a line was last said, by its text
        self.said = {}
        # The good peer's rate before each attack, and beside it
        self.rates = {}

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

    def start_traffic(self, is_asked):
        """Until it is ended. A victim that is asked for other things meanwhile
        looks for messages in between."""
        if not is_asked:
            self.victim.tell('serve', LIFE)
        self.good.tell('pour', 'v', LIFE)

    def end_traffic(self, is_asked):
        """Messages a second that the good peer could send."""
        self.good.tell('flush', 'v')
        count, seconds, status = self.good.accept().split(' ', 2)
        # The last one may have found no room when the time was over
        check(status in ('Success', 'Operation timed out'),
              f'the good peer: {status}')
        self.good.accept()
        if not is_asked:
            self.victim.tell('pid')
            self.victim.accept()
            self.victim.accept()
        self.to_victim += int(count)
        self.talk()
        return int(count) / float(seconds)

    def baseline(self, is_asked):
        self.start_traffic(is_asked)
        time.sleep(SAMPLE)
        return self.end_traffic(is_asked)

    def counted(self):
        """Violations of the rules, and requests that were refused."""
        return [int(word) for word in self.victim.ask('counters').split()]

    def saying(self, text):
        return sum(text in line for line in self.lines())

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


def repeatedly(attack):
    """At least once, and for as long as a rate needs to be measured."""
    end = time.monotonic() + SAMPLE
    told = attack()
    count = 1
    while time.monotonic() < end:
        attack()
        count += 1
    return f'{told}, {count} times' if count > 1 else told


def simple(name):
    """An attack that the hostile program does alone."""
    def run_simple(scene, hostile):
        return repeatedly(lambda: hostile.ask('attack', name, scene.address))
    return run_simple


def rma(scene, hostile):
    """Nothing of it has an effect; the right one that is not refused shows that
    the key was one."""
    key = scene.victim.ask('memory', MEMORY)
    told = repeatedly(lambda: hostile.ask('attack', 'rma', scene.address, key))
    expect('memory is as it was', '1', scene.victim.ask('intact'))
    expect('a right one', 'refused 0',
           hostile.ask('attack', 'rma-right', scene.address, key))
    scene.victim.ask('forget')
    expect('one with a stale key', 'refused 1',
           hostile.ask('attack', 'rma-right', scene.address, key))
    return told


def receipt(name, fails):
    """The victim sends to the hostile peer, which does not play by the rules: the
    endpoint fails, or not."""
    def run(scene, hostile):
        victim = scene.victim
        failed = int(victim.ask('failures', 0, 0)) + fails
        address = hostile.ask('listen', scene.neighbour(), scene.address)
        hostile.tell('receive', name, 1)
        victim.ask('connect', 'h', address)
        victim.tell('stream', 'h', 1)
        status = victim.answer()
        expect('endpoints that failed', str(failed),
               victim.ask('failures', failed, PATIENCE))
        victim.ask('disconnect', 'h')
        return f'{hostile.accept()}; the victim: {status}'
    return run


def read_twice(scene, hostile, copy_out):
    """@return Messages that changed while the victim's handler read them."""
    victim = scene.site.start(0, [f'UCX_XSHM_COPY_OUT={copy_out}'])
    hostile.ask('attack', 'moving-payload', victim.open()[0])
    read, changed = victim.ask('twice').split()
    expect('messages that were read twice', str(NUM_PAYLOADS), read)
    scene.site.drop(victim)
    return int(changed)


def moving_payload(scene, hostile):
    """Where messages are copied out first, the handler has what nobody changes.
    Without that it has not, or this test would show nothing."""
    default = 'on' if scene.site.is_local else 'auto'
    expect(f'messages that changed, with {default}', 0,
           read_twice(scene, hostile, default))
    changed = read_twice(scene, hostile, 'off')
    check(changed > 0, 'no message has changed without copying out')
    return f'{changed} of {NUM_PAYLOADS} messages changed without copying out'


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


# What an attack is called, and does; what the victim says of it, and how many
# violations and refused requests it counts at least. With "is_asked" the victim has
# something to do in it.
Attack = collections.namedtuple(
    'Attack', 'text run line violations refused is_asked',
    defaults=(None, 0, 0, False))


def lines_attack(text, name, violations):
    """Lines of the ring that cannot be."""
    return Attack(text, simple(name), RULE, violations=violations)


RULE = 'which cannot be: the channel is closed'
ROOM = 'gave back room that it did not have'
COMMON = {
    'types': lines_attack('records of unknown types', 'types', 9),
    'lengths': lines_attack('wrong lengths', 'lengths', 12),
    'ids': lines_attack('wrong ids', 'ids', 2),
    'wrap-at-start': lines_attack('WRAP at the start of the ring',
                                  'wrap-at-start', 1),
    'close-size': lines_attack('CLOSE with a size', 'close-size', 1),
    'wrap-loop': lines_attack('a lap around the ring in three lines, for ever',
                              'wrap-loop', 1),
    'skip-loop': lines_attack('SKIP and WRAP that lead to each other',
                              'skip-loop', 2),
    'turn': lines_attack('anything in the turn line, and wrong offers of it',
                         'turn', 9),
    'units': Attack('operations that are too short, in the rest of a line',
                    simple('units')),
    'moving-headers': lines_attack('headers that change while they are read',
                                   'moving-headers', 1),
    'moving-payload': Attack('payload that changes while it is read',
                             moving_payload, is_asked=True),
    'random-lines': lines_attack('a ring full of anything, laps at random',
                                 'random-lines', 1),
    'layout': Attack('wrong layouts', simple('layout'), 'refused a peer'),
    'wake-lines': Attack('lines for waking up at random, and a flood of them',
                         simple('wake-lines')),
    'live': Attack('a sender that lives and dies, over and over',
                   simple('live')),
    'wrong-token': Attack('a flood of requests with wrong tokens',
                          simple('wrong-token'), refused=50),
    'half': Attack('half set-ups', simple('half')),
    'rma': Attack('wrong operations on memory, with a right key', rma,
                  is_asked=True),
    'ahead': Attack('credits that run ahead', receipt('ahead', 1), ROOM,
                    violations=1, is_asked=True),
    'backwards': Attack('credits that run backwards', receipt('backwards', 1),
                        ROOM, violations=1, is_asked=True),
    'write-all': Attack('a return page full of anything',
                        receipt('write-all', 1), is_asked=True),
    'never-read': Attack('a receiver that never reads',
                         receipt('never-read', 0), is_asked=True),
    'zero': Attack('pages given to a peer are zero but for what was sent to it',
                   given_pages, is_asked=True)}
LOCAL = {
    'garbage': Attack('packets that are no messages', simple('garbage'),
                      'no message of ours'),
    'socket-types': Attack('messages of wrong types and sides',
                           simple('socket-types'), 'is malformed'),
    'versions': Attack('a flood of other versions', simple('versions'),
                       'a peer uses version'),
    'no-memory': Attack('requests without memory', simple('no-memory'),
                        'is malformed'),
    'memory': Attack('memory that could be taken away', simple('memory'),
                     "refused a peer's memory"),
    'sizes': Attack('wrong sizes of memory', simple('sizes'),
                    'no size of a channel'),
    'shrink': lines_attack('memory that is taken away later', 'shrink', 1),
    'replay': Attack('replayed requests', simple('replay'), 'is malformed'),
    'unread': Attack('a flood of requests whose answers nobody reads',
                     simple('unread')),
    'many': Attack('more channels than there may be', simple('many')),
    'connections': Attack('connections that say nothing',
                          simple('connections')),
    'bells': Attack('descriptors that nobody can be woken by', simple('bells')),
    'blocking-bell': Attack('a descriptor that would block who notifies',
                            simple('blocking-bell')),
    'impostor': Attack('a peer under the name of another one', impostor,
                       is_asked=True)}
XEN = {
    'values': Attack('nodes with malformed values', simple('values'),
                     'is malformed'),
    'names': Attack('nodes with wrong names', simple('names')),
    'grefs': Attack('pages that were not granted', simple('grefs')),
    'num-pages': Attack('wrong numbers of pages', simple('num-pages')),
    'moving-refs': Attack('references that change while they are read',
                          simple('moving-refs')),
    'replay': Attack('replayed requests', simple('replay')),
    'lie': Attack('a receiver that says it has unmapped, and has not', liar,
                  is_asked=True),
    'refusals': Attack('a flood of requests that stay', simple('refusals')),
    'ports': Attack('another port for each channel', ports, 'event channels'),
    'flood': Attack('a flood of changes in xenstore', flood, 'is malformed'),
    'seem-to-end': Attack('a receiver whose machine seems to end', seeming_end,
                          is_asked=True),
    'keep-open': Attack('a receiver that keeps what was closed', kept_open,
                        is_asked=True)}

# Those that need no token, for a victim that uses UCP
STRANGERS = {True: ('wrong-token', 'half', 'garbage', 'socket-types',
                    'no-memory', 'versions', 'unread', 'connections'),
             False: ('wrong-token', 'half', 'values', 'names', 'refusals',
                     'flood')}


# After these the victim has pages that it may not free: the peer may have them
KEEPERS = ('lie', 'seem-to-end', 'keep-open')


def await_voice(scene, attack):
    """Of many lines of a kind only the first ones are written, and then one from
    time to time. @return Whether the victim will say this attack's line."""
    if attack.line is None or scene.saying(attack.line) < BURST:
        return attack.line is not None
    if attack.violations or attack.refused:
        return False
    pause = scene.said.get(attack.line, 0) + COMPLAIN_SECONDS + 1 - time.monotonic()
    time.sleep(max(0, pause))
    return True


def seen(condition):
    deadline = time.monotonic() + SEEN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def check_noticed(scene, attack, counted, said):
    """The victim has counted, and said, since then what it has to."""
    wanted = [before + least for before, least in
              zip(counted, (attack.violations, attack.refused))]
    check(seen(lambda: all(now >= least for now, least in
                           zip(scene.counted(), wanted))),
          f'the victim has counted {scene.counted()} violations and refused '
          f'requests, and not {wanted}')
    if said is not None:
        check(seen(lambda: scene.saying(attack.line) > said),
              f'the victim does not say "{attack.line}"')


def measured(measure_baseline, measure):
    """A rate without an attack and beside it, and what that attack told. How much is
    left is shown, not judged: that depends on what else the machine does. But it
    must not stand still."""
    baseline = measure_baseline()
    rate, told = measure()
    check(rate > 0, 'the good peer sends nothing beside it')
    return (baseline, rate), told


def attack_beside_traffic(scene, hostile, name, attack):
    def measure():
        scene.start_traffic(attack.is_asked)
        told = attack.run(scene, hostile)
        return scene.end_traffic(attack.is_asked), told

    scene.rates[name], told = measured(
        lambda: scene.baseline(attack.is_asked), measure)
    return told


def run(scene, name, attack):
    hostile = attacker(scene.site)
    may_say = await_voice(scene, attack)
    start = time.monotonic()
    lines = len(scene.lines())
    error = None
    try:
        counted = scene.counted()
        said = scene.saying(attack.line) if may_say else None
        told = attack_beside_traffic(scene, hostile, name, attack)
        check_noticed(scene, attack, counted, said)
    except FAILURES as failure:
        error = failure
    scene.said[attack.line] = time.monotonic()
    scene.site.drop(hostile)
    print(f'{"ok" if error is None else "not ok"} {attack.text}', flush=True)
    if error is None:
        say(f'{told}; {len(scene.lines()) - lines} lines; '
            f'{time.monotonic() - start:.1f} s')
    else:
        say(error)
        say(hostile.log())
        say('\n'.join(scene.victim.log().splitlines()[-40:]))
    return error is None


def show_rates(what, rates):
    """How much the good peer lost by each attack."""
    say(f'{what} a second before each attack, beside it, and what is left')
    for name, (baseline, rate) in rates.items():
        say(f'{name:16} {baseline:10.0f} {rate:10.0f} {rate / baseline:6.0%}')


class Service:
    """A server that uses UCP, on the victim's machine, and clients on the good
    peer's that ask it all the time."""

    def __init__(self, site):
        self.site = site
        self.ip = '127.0.0.1' if site.is_local else \
            site.shell(0, f'getent hosts {site.guests[0]}').split()[0]
        self.port = RPC_PORT + os.getpid() % 10000
        self.device = '' if site.is_local else self.address_of_machine()
        self.server = site.rpc(0, 'server', '-a', self.ip, '-p', self.port)
        expect('what the server says', 'READY', self.server.answer())
        name = site.name_of(self.pid(0, self.server, 'server'))
        # Without a token. A process makes the interface of "local" first.
        interface = 0 if site.is_local else 1
        self.address = f'{self.device}:' + (
            abi_version().to_bytes(1, 'little') +
            int(name, 16).to_bytes(8, 'little') +
            interface.to_bytes(4, 'little') + bytes(16)).hex()

    def address_of_machine(self):
        agent = self.site.start(0)
        address, = agent.open()
        agent.end()
        self.site.agents.remove(agent)
        return address.split(':')[0]

    def client(self):
        client = self.site.rpc(2, 'client', '-a', self.ip, '-p', self.port,
                               '-n', 0)
        expect('what the client says', 'GOING', client.answer())
        return client

    def pid(self, number, program, role):
        if self.site.is_local:
            return program.process.pid
        return int(self.site.shell(number, f"pgrep -f '^{RPC} {role} .*"
                                   f"-p {self.port}( |$)'"))

    def end(self, number, program, role):
        """@return The last line of what it wrote."""
        signal(self.site, number, self.pid(number, program, role), 'TERM')
        line = program.answer()
        expect(f'status of the {role}', 0, program.process.wait(PATIENCE))
        self.site.agents.remove(program)
        return line

    def rate(self, beside):
        """Requests a second that a client could make meanwhile, all of them
        answered rightly."""
        client = self.client()
        told = beside()
        line = self.end(2, client, 'client')
        found = re.search(r' rate=(\d+) reconnects=0 ok$', line)
        check(found, f'the client says "{line}"')
        return int(found.group(1)), told

    def has_mapped_it(self):
        """On this kernel that can be seen. On "xen" the hostile peer sees it."""
        return self.site.is_local and 'memfd:hostile' in self.site.shell(
            0, f'cat /proc/{self.server.process.pid}/maps')


def attack_service(service, name, attack):
    site = service.site
    hostile = attacker(site)
    rates, told = measured(
        lambda: service.rate(lambda: time.sleep(SAMPLE))[0],
        lambda: service.rate(lambda: repeatedly(
            lambda: hostile.ask('stranger', name, service.address))))
    check(not service.has_mapped_it(), 'something was mapped')
    site.drop(hostile)
    print(f'ok UCP, without its token: {attack.text}', flush=True)
    say(told)
    return rates


def attack_strangers(site, attacks, names):
    """Without the tokens of a process that uses UCP nobody gets anything mapped by
    it. All is counted, and its client is answered all the time."""
    service = Service(site)
    rates = {name: attack_service(service, name, attacks[name])
             for name in names}
    show_rates('requests', rates)
    line = service.end(0, service.server, 'server')
    expect('what the server says', True, line.startswith('SERVED '))
    refused = sum(map(int, re.findall(r'refused_requests=(\d+)',
                                      service.server.log())))
    # The others were for interfaces that there are not
    check(refused >= 50, f'{refused} refused requests were counted')
    say(f'{refused} requests were for an interface that there is')


def run_strangers(site, attacks, names):
    text = 'without its token, nobody gets anything mapped by a process with UCP'
    try:
        attack_strangers(site, attacks, names)
        print(f'ok {text}')
    except FAILURES as failure:
        print(f'not ok {text}')
        say(failure)
        for agent in site.agents:
            say(f'{agent.name}: {agent.log()}')
    site.drop_agents()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='local')
    parser.add_argument('--guests', nargs='*', default=[])
    parser.add_argument('--only', nargs='*', default=[])
    parser.add_argument('--attacks-only', action='store_true',
                        help='do not look what the victim has in the end')
    parser.add_argument('--ucp', action='store_true',
                        help='attack a process that uses UCP, without a token')
    options = parser.parse_args()
    site = Site(options.device, options.guests)
    site.is_looked_at = not options.attacks_only
    attacks = {**COMMON, **(LOCAL if site.is_local else XEN)}
    names = options.only or list(attacks)
    if not site.is_local:
        give_identity(site)
    if options.ucp:
        run_strangers(site, attacks, options.only or STRANGERS[site.is_local])
        return
    attack_all(Scene(site), attacks,
               [name for name in names if name not in KEEPERS],
               'the victim has not grown, nor its log', 0)
    keepers = [name for name in names if name in KEEPERS]
    if keepers:
        attack_all(Scene(site), attacks, keepers,
                   'what the victim has to keep for those is bounded',
                   MAX_KEPT * PAGE)


def look_in_the_end(scene, counts, resident, more_shared):
    """Between guests that is when the attacker's machine has ended: its programs do
    not let its kernel tell of their ends, so their channels seem to live on."""
    site = scene.site
    site.end_attacker()
    descriptors, shared, _ = counts.split()
    await_count(scene.victim, f'{descriptors} {int(shared) + more_shared}',
                0 if site.is_local else DEVICES)
    grown = scene.resident() - resident
    say(f'the victim has grown by {grown // 1024} KiB, and has written '
        f'{len(scene.lines())} lines')
    check(grown <= MORE_RESIDENT, 'it has grown')
    check(len(scene.lines()) <= MAX_LINES, 'it has written too much')
    scene.talk()
    site.end_agents()


def attack_all(scene, attacks, names, text, more_shared):
    """These attacks. In the end the victim has no more descriptors, and at most
    so many bytes more of shared memory; then all agents end."""
    site = scene.site
    counts, resident = scene.victim.ask('count'), None
    for name in names:
        if run(scene, name, attacks[name]):
            say('descriptors and shared memory of the victim: '
                f'{scene.victim.ask("count")}')
            resident = resident or scene.resident()
            continue
        # They may be in the middle of something
        show_rates('messages', scene.rates)
        site.drop_agents()
        scene = Scene(site)
        counts, resident = scene.victim.ask('count'), None
    show_rates('messages', scene.rates)
    if site.is_looked_at:
        try:
            look_in_the_end(scene, counts, resident or scene.resident(),
                            more_shared)
            print(f'ok {text}')
        except Failed as failure:
            print(f'not ok {text}')
            say(failure)
        site.drop_agents()
        site.start_attacker()
    site.drop_agents()


if __name__ == '__main__':
    sys.exit(main())
