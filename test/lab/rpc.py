#!/usr/bin/env python3
#
# RPC between virtual machines, by UCX's listener and client pattern: tcp connects
# and the device "xen" carries the data, which UCX's own log has to show. Clients
# come from all guests but the first, which has the server; it sleeps when it is
# idle, and survives clients that die. What test/functional/rpc and examples show
# on one kernel. Prints "ok NAME" or "not ok NAME" for each test, and lines with "#".
#
#   rpc.py [--device DEVICE] [--guests SERVER CLIENT...] [--only NAME...]
#
# See file LICENSE for terms.

import os
import random
import subprocess
import time

from agents import BUILD, PATIENCE, XENLAB, check, expect, say
from programs import PROGRAMS, main, succeeded

RPC = os.path.join(PROGRAMS, 'ucp_rpc')
EXAMPLE = 'ucp_client_server'
EXAMPLE_SOURCE = f'/usr/share/doc/libucx-dev/examples/{EXAMPLE}.c'
# Where it is built, and then is in the guests
EXAMPLE_FOLDER = os.path.join(BUILD, 'test', 'lab')
# Of the processes in a guest, one file each
LOGS = '/tmp/xshm-rpc'
CLIENTS = 4 # In each guest
REQUESTS = 100
# In the emulation each time that a side sleeps until there is room takes long
LARGE_REQUESTS = 4
LARGE = 100000
DYING = 3
RECONNECTS = 200
IDLE_SECONDS = 10
IDLE_PERCENT = 1
# Of a server's processor time: some hundred requests in the emulation
WORK_TICKS = 200
# After this, the last lane that a process's log has is where its messages go
LANE = r's/.*ep_cfg\[[0-9]*\]: .*{}(\([^ )]*\).*/\1/p'


class Server:
    """A process in the first guest that clients connect to."""

    def __init__(self, lab, *options, program=RPC):
        self.lab = lab
        self.port = random.randrange(20000, 30000)
        self.ip = '127.0.0.1' if lab.is_local else \
            lab.shell(0, f'getent hosts {lab.guests[0]}').split()[0]
        for number in range(len(lab.guests)):
            lab.shell(number, f'rm -rf {LOGS}; mkdir -m 777 {LOGS}')
        words = ['server', '-a', self.ip] if program == RPC else []
        self.pattern = ' '.join([f'^{program}', *words,
                                 f'.*-p {self.port}( |$)'])
        self.program = self.start(0, program, *words, *options)
        if program == RPC:
            expect('what the server says', 'READY', self.program.answer())
        else:
            self.await_listening()

    def start(self, number, *words):
        """With a log, unless it is to be killed: then the log's end is missing."""
        log = [] if '-k' in words else ['UCX_LOG_LEVEL=debug',
                                        f'UCX_LOG_FILE={LOGS}/%p']
        return self.lab.launch(
            number, *log, 'UCX_TLS=xshm,tcp,self', 'UCX_TCP_CM_REUSEADDR=y',
            *words, '-p', self.port)

    def await_listening(self):
        deadline = time.monotonic() + PATIENCE
        port = f':{self.port:04X} 00000000:0000 0A'
        while not self.lab.shell(
                0, f'grep -s "{port}" /proc/net/tcp /proc/net/tcp6; true'):
            check(time.monotonic() < deadline, 'the server does not listen')

    def client(self, number, *options):
        return self.start(number, RPC, 'client', '-a', self.ip, *options)

    def requests(self, number, *options):
        """A client whose requests are all answered, and rightly."""
        say(succeeded(self.client(number, *options)).strip())

    def pid(self):
        return self.lab.shell(0, f"pgrep -f '{self.pattern}'").strip()

    def shell(self, text):
        return self.lab.shell(0, text.format(pid=self.pid()))

    def end(self):
        """What it says at its end."""
        self.shell('kill -TERM {pid}')
        answer = succeeded(self.program).strip()
        self.lab.agents.remove(self.program)
        say(answer)
        return answer

    def ticks(self):
        return int(self.shell("awk '{{ print $14 + $15 }}' /proc/{pid}/stat"))

    def descriptors(self):
        """But timers: an interface makes one when a peer is slow to answer."""
        return int(self.shell('find /proc/{pid}/fd -mindepth 1 '
                              '-not -lname "*timerfd*" | wc -l'))


def prove(lab, processes, lane='am'):
    """All processes with a log ended up with their messages on the device."""
    expression = LANE.format(lane)
    found = []
    for number in sorted({lab.guests.index(guest) for guest in lab.guests}):
        found += lab.shell(number, f'for log in {LOGS}/*; do '
                           f"sed -n '{expression}' $log | tail -n 1; "
                           'done').split()
    say(f'lanes: {" ".join(found)}')
    expect('where the messages went', [f'xshm/{lab.device}'] * processes, found)


def clients_of(lab):
    return range(1, len(lab.guests))


def test_sizes(lab):
    server = Server(lab)
    server.requests(1, '-n', REQUESTS, '-s', 8)
    server.requests(1, '-n', LARGE_REQUESTS, '-s', LARGE)
    server.requests(1, '-n', REQUESTS, '-m', 'poll')
    server.end()
    prove(lab, 4)


def test_many(lab):
    server = Server(lab)
    clients = [server.client(number, '-n', REQUESTS, '-s', 1 << (2 * i))
               for number in clients_of(lab) for i in range(CLIENTS)]
    for client in clients:
        say(succeeded(client).strip())
    expect('served', f'SERVED requests={REQUESTS * len(clients)}',
           server.end().rsplit(' ', 1)[0])
    prove(lab, len(clients) + 1)


def await_work(server):
    """Until the server has done more than it takes to connect a client."""
    enough = server.ticks() + WORK_TICKS
    deadline = time.monotonic() + PATIENCE
    while server.ticks() < enough:
        check(time.monotonic() < deadline, 'the server is not asked anything')
        time.sleep(1)


def test_idle(lab):
    """A client is connected, and says nothing, as it is stopped."""
    ticks_per_second = os.sysconf('SC_CLK_TCK')
    for mode in 'sleep', 'wait':
        server = Server(lab, '-m', mode)
        client = server.client(1, '-n', 0)
        pattern = f'^{RPC} client .*-p {server.port}( |$)'
        await_work(server)
        lab.shell(1, f"pkill -STOP -f '{pattern}'")
        time.sleep(1)
        before = server.ticks()
        time.sleep(IDLE_SECONDS)
        ticks = server.ticks() - before
        say(f'{mode}: {ticks} ticks of {ticks_per_second} a second in '
            f'{IDLE_SECONDS} s')
        server.requests(1, '-n', 10)
        lab.shell(1, f"pkill -TERM -f '{pattern}'; pkill -CONT -f '{pattern}'")
        say(succeeded(client).strip())
        lab.agents.remove(client)
        check(not server.end().startswith('SERVED requests=10 '),
              'the client that was silent then had never said anything')
        check(ticks * 100 <=
              IDLE_PERCENT * IDLE_SECONDS * ticks_per_second,
              f'an idle server uses more than {IDLE_PERCENT} %')
        prove(lab, 3)


def kill_clients(server):
    for i in range(DYING):
        client = server.client(1, '-n', REQUESTS, '-s', i * 1000, '-k',
                               i * 10 + 1)
        check(client.process.wait(PATIENCE) != 0, 'the client was not killed')


def test_dying_clients(lab):
    """The second time that costs the server nothing that it had not at first."""
    server = Server(lab)
    kill_clients(server)
    server.requests(1, '-n', 10)
    time.sleep(2)
    before = server.descriptors()
    good = server.client(clients_of(lab)[-1], '-n', 10 * REQUESTS)
    kill_clients(server)
    say(succeeded(good).strip())
    server.requests(1, '-n', 10)
    deadline = time.monotonic() + PATIENCE
    while server.descriptors() > before:
        check(time.monotonic() < deadline,
              f'{server.descriptors()} descriptors, and {before} before')
        time.sleep(1)
    expect('lost', f'lost={2 * DYING + 3}', server.end().split()[-1])
    prove(lab, 4)


def test_dying_server(lab):
    """The client looks for it, and finds another process at the same address."""
    first = Server(lab, '-k', REQUESTS // 2)
    client = first.client(1, '-n', REQUESTS, '-r', RECONNECTS)
    check(first.program.process.wait(PATIENCE) != 0, 'it was not killed')
    second = Server.__new__(Server)
    second.__dict__.update(first.__dict__)
    second.program = second.start(0, RPC, 'server', '-a', first.ip)
    expect('what the server says', 'READY', second.program.answer())
    text = succeeded(client).strip()
    say(text)
    check('reconnects=0' not in text, 'the client did not notice')
    second.end()
    prove(lab, 2)


def build_example(lab):
    program = os.path.join(EXAMPLE_FOLDER, EXAMPLE)
    os.makedirs(EXAMPLE_FOLDER, exist_ok=True)
    subprocess.run([os.environ.get('CC', 'cc'), '-O1', '-o', program,
                    EXAMPLE_SOURCE, '-lucp', '-lucs'], check=True)
    for guest in [] if lab.is_local else lab.guests[:2]:
        subprocess.run([XENLAB, 'push', guest, program], check=True)
    return program


def test_example(lab):
    program = build_example(lab)
    for interface in 'tag', 'stream', 'am':
        options = ('-c', interface, '-i', 50, '-s', 40)
        server = Server(lab, *options, program=program)
        succeeded(server.start(1, program, '-a', server.ip, *options))
        prove(lab, 2, interface)
        # It waits for clients for ever
        server.shell('kill -KILL {pid}')
        server.program.drop()


TESTS = {
    'sizes': ('requests of 8 B and of 100 KB, and a client that polls',
              test_sizes),
    'many': ('many clients of one server', test_many),
    'idle': ('an idle server sleeps', test_idle),
    'dying-clients': ('clients that die', test_dying_clients),
    'dying-server': ('a server that dies, and is started anew',
                     test_dying_server),
    'example': ("UCX's ucp_client_server: tag, stream and active messages",
                test_example)}

if __name__ == '__main__':
    main(TESTS)
