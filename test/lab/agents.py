#
# Programs in several virtual machines that do what they are told from here (agents,
# test/functional/uct_agent.c), and how to look into those machines: what the tests
# beside this file share.
#
# See file LICENSE for terms.

import argparse
import os
import queue
import re
import subprocess
import tempfile
import threading
import time

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.environ.get('XSHM_BUILD', os.path.join(SOURCE, 'build'))
INSTALL = os.environ.get('XSHM_INSTALL', os.path.join(SOURCE, 'install'))
AGENT = os.path.join(BUILD, 'test', 'functional', 'uct_agent')
LIBRARY = os.path.join(INSTALL, 'lib', 'ucx', 'libuct_xshm.so.0')
# The dynamic linker splits LD_PRELOAD at spaces
PRELOAD = [f'LD_LIBRARY_PATH={os.path.dirname(LIBRARY)}',
           f'LD_PRELOAD={os.path.basename(LIBRARY)}']
XENLAB = os.path.join(SOURCE, 'contrib', 'xenlab')

# Seconds; far above what is needed
PATIENCE = 240
AGENT_LIFE = 3000
# Within which a peer's death is noticed, and all is freed again: the kernel frees
# 10 pages a second that the peer has still mapped
NOTICE = 60
RECOVERY = 90
# Within which the death of a process has to be noticed, by device
DEATH = {'local': 1, 'xen': 20}
# More messages than any test sends, and how long none has come then
MANY = 10**12
SETTLE_SECONDS = 0.2
CYCLES = 300 # By default
KILLS = 30 # By default
# What a process may use more of its heap in the end, in bytes, whatever has come and
# gone meanwhile: pools keep what they once had
MORE_HEAP = 64 * 1024
# Nodes of processes that died are kept for so long
LIFETIME = 120
# Of gntalloc, as xshm_setup sets it
LIMIT = 16384
# The agent's own limit is 128 interfaces
AT_ONCE = 100
# What an agent says of an endpoint without them (UCS_ERR_NO_MEMORY)
OUT_OF_MEMORY = 'error Out of memory'
# Pages of a channel with default settings, in the guest that sends
CHANNEL_PAGES = 16


class Failed(Exception):
    pass


# How a test ends that fails: what its programs say is not what it can read, or they
# are gone
FAILURES = (Failed, OSError, ValueError, subprocess.SubprocessError)


def check(condition, text):
    if not condition:
        raise Failed(text)


def expect(what, wanted, found):
    if wanted != found:
        raise Failed(f'{what}: expected {wanted!r}, found {found!r}')


def say(text):
    for line in str(text).splitlines():
        print(f'# {line}', flush=True)


class Agent:
    """A process in a guest that does what it is told."""

    def __init__(self, lab, guest, device, user='mpi', settings=()):
        self.guest = guest
        self.name = f'{guest} {device}'
        self.errors = tempfile.TemporaryFile('w+')
        self.answers = queue.Queue()
        self.process = subprocess.Popen(
            lab.command(guest, user, settings, device), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.answers.put(line.rstrip('\n'))
        self.answers.put(None)

    def tell(self, *words):
        """Send a command, whose answer is to be fetched by answer()."""
        self.process.stdin.write(' '.join(str(word) for word in words) + '\n')
        self.process.stdin.flush()

    def answer(self, patience=PATIENCE):
        try:
            line = self.answers.get(timeout=patience)
        except queue.Empty:
            raise Failed(f'{self.name}: no answer; {self.log()}')
        if line is None:
            raise Failed(f'{self.name}: it has ended; {self.log()}')
        return line

    def ask(self, *words):
        """Send a command; what follows "ok" is returned."""
        self.tell(*words)
        return self.accept()

    def accept(self):
        line = self.answer()
        if not line.startswith('ok'):
            raise Failed(f'{self.name}: {line}; {self.log()}')
        return line[len('ok'):].strip()

    def log(self):
        self.errors.seek(0)
        return self.errors.read()

    def open(self, count=1):
        return self.ask('open', count).split()

    def end(self):
        """Let it close everything, as a well-behaved program does."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f'{self.name}: it does not end; {self.log()}')

    def drop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # What reads it in a guest is not the process that was killed
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


class Lab:
    """Where agents run, and how to look into the guests from outside."""

    def __init__(self, device, guests, cycles=CYCLES, kills=KILLS, seed=0):
        self.device = device
        self.cycles = cycles
        self.kills = kills
        self.seed = seed
        self.guests = guests or ['here', 'here']
        self.is_local = not guests
        self.agents = []
        self.observers = {}

    def command(self, guest, user, settings, device):
        return self.program(guest, user, settings, [AGENT, '-d', device])

    def program(self, guest, user, settings, arguments):
        """The command line of a program in a guest, with xshm loaded."""
        # by default UCX's log is among the answers
        command = ['env', *PRELOAD, 'UCX_LOG_FILE=stderr', *settings,
                   *arguments]
        if self.is_local:
            return command
        return [XENLAB, 'exec', '--timeout', str(AGENT_LIFE), '--user', user,
                guest, '--', *command]

    def start(self, number, settings=(), device=None):
        """Start an agent in a guest, counted from 0."""
        agent = Agent(self, self.guests[number], device or self.device,
                      settings=settings)
        self.agents.append(agent)
        return agent

    def shell(self, number, command):
        return self.observer(number).ask('shell', command)

    def observer(self, number):
        """An agent, as root, that does not use the device."""
        guest = self.guests[number]
        if guest not in self.observers:
            self.observers[guest] = Agent(self, guest, 'none', 'root')
        return self.observers[guest]

    def forget(self, number):
        """A guest is gone, and its observer with it."""
        observer = self.observers.pop(self.guests[number], None)
        if observer is not None:
            observer.drop()

    def resources(self, number):
        """What the guest has in use, that a connection takes away."""
        if self.is_local:
            return {}
        return {
            'pages': LIMIT - int(self.observer(number).ask('grants')),
            'nodes': int(self.shell(
                number, 'xenstore-ls -f data/xshm 2>/dev/null | wc -l')),
            'ports': int(self.shell(
                number, "grep -c 'evtchn:' /proc/interrupts; true")),
            'sockets': int(self.shell(
                number, 'grep -c xshm /proc/net/unix; true'))}

    def await_resources(self, number, before):
        deadline = time.monotonic() + RECOVERY
        start = time.monotonic()
        while True:
            now = self.resources(number)
            if all(now[name] <= before[name] for name in before):
                say(f'{self.guests[number]}: {before} before, {now} after')
                return time.monotonic() - start
            if time.monotonic() > deadline:
                raise Failed(f'{self.guests[number]} had {before}, and has '
                             f'{now} after {RECOVERY} s')
            time.sleep(0.5)

    def finish(self):
        """A test has passed, but for the end of its agents: that has to be good."""
        self.end_agents()

    def end_agents(self):
        for agent in self.agents:
            agent.end()
        self.agents = []

    def drop(self, *agents):
        """End some agents, whatever they do, for good."""
        for agent in agents:
            agent.drop()
            self.agents.remove(agent)

    def drop_agents(self):
        self.drop(*self.agents)


def dom0(*command, check=True):
    return subprocess.run([XENLAB, 'exec', 'dom0', '--', *command], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          check=check)


def domid_of(guest):
    return dom0('xl', 'domid', guest).stdout.strip()


def watches_of(guests):
    """How many watches each has, as C xenstored says; oxenstored does not (None).
    All at once: dom0 answers slowly while guests poll."""
    said = dom0('sh', '-c', 'for guest in "$@"; do echo "== "; xenstore-control '
                'quota "$(xl domid "$guest")"; done; true', 'sh', *guests).stdout
    found = [re.search(r'watches *: *(\d+)', each)
             for each in said.split('== ')[1:]]
    return [int(match.group(1)) if match else None for match in found]


def watches(guest):
    return watches_of([guest])[0]


def signal(lab, number, agent_pid, name):
    if lab.is_local:
        subprocess.run(['kill', f'-{name}', str(agent_pid)], check=True)
    else:
        lab.shell(number, f'kill -{name} {agent_pid}')


def pair(lab, settings=()):
    """Two agents in two guests, the second of which has an endpoint, "x", to the
    first, with the address of the first."""
    one = lab.start(0, settings)
    two = lab.start(1, settings)
    address, = one.open()
    two.open()
    two.ask('connect', 'x', address)
    return one, two, address


def received(agent, count):
    expect('messages received, and bad ones', f'{count} 0',
           agent.ask('wait', count, PATIENCE))


def settled(agent):
    """Messages received, when no more come: what a sender had published before
    it was killed is still delivered."""
    before, now = None, agent.ask('wait', MANY, SETTLE_SECONDS)
    while now != before:
        before, now = now, agent.ask('wait', MANY, SETTLE_SECONDS)
    return int(now.split()[0])


def xenlab(command, guest):
    """As "destroy": what the lab can do with a guest."""
    subprocess.run([XENLAB, command, guest], check=True,
                   stdin=subprocess.DEVNULL)


def await_count(agent, before, more_descriptors=0):
    """Until a process has no more descriptors and shared memory than before, but for
    so many descriptors, and not much more of its heap, if that is given."""
    deadline = time.monotonic() + RECOVERY
    more = (more_descriptors, 0, MORE_HEAP)
    while True:
        now = agent.ask('count')
        text = (f'{agent.name}: descriptors, shared memory and heap: {before} '
                f'before, {now} after')
        if all(int(after) <= int(most) + extra for after, most, extra
               in zip(now.split(), before.split(), more)):
            say(text)
            return
        if time.monotonic() > deadline:
            raise Failed(f'{text} {RECOVERY} s')
        time.sleep(0.5)


def patiently(what, attempt):
    deadline = time.monotonic() + PATIENCE
    while not attempt():
        if time.monotonic() > deadline:
            raise Failed(what)
        time.sleep(1)


def shared_memory(agent):
    return int(agent.ask('count').split()[1])


def await_mapped(agent, ask):
    """Ask for a channel to an agent, and wait until that has mapped it."""
    before = shared_memory(agent)
    ask()
    patiently('the agent has not mapped the channel',
              lambda: shared_memory(agent) > before)


def complaints(agent):
    """The lines that the transport, or UCX, wrote as an error or a warning."""
    return '\n'.join(line for line in agent.log().splitlines()
                     if re.search(r' (WARN|ERROR|FATAL) ', line))


def run(lab, name, text, function):
    """A test, whose result is printed; whatever it has started is ended."""
    start = time.monotonic()
    error = None
    try:
        function(lab)
        lab.finish()
    except FAILURES as failure:
        error = failure
        for agent in lab.agents:
            say(f'{agent.name}: {agent.log()}')
    lab.drop_agents()
    print(f'{"ok" if error is None else "not ok"} {text}', flush=True)
    if error is not None:
        say(error)
    say(f'{name}: {time.monotonic() - start:.0f} s')


def main(tests, of_xen):
    """Run those of a table, "tests", that were asked for. What "of_xen" names needs
    guests."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='local')
    parser.add_argument('--guests', nargs='*', default=[])
    parser.add_argument('--only', nargs='*')
    parser.add_argument('--cycles', type=int, default=CYCLES)
    parser.add_argument('--kills', type=int, default=KILLS)
    parser.add_argument('--seed', type=int, default=int(time.time()))
    options = parser.parse_args()
    lab = Lab(options.device, options.guests, options.cycles, options.kills,
              options.seed)
    names = options.only or [name for name in tests
                             if options.guests or name not in of_xen]
    for name in names:
        run(lab, name, *tests[name])
