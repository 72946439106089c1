"""One run of ucx_perftest: two pinned processes, a connection, a figure.

SPDX-License-Identifier: BSD-3-Clause
"""

import re
import socket
import time
from dataclasses import dataclass

from .plan import BANDWIDTH, DIRECT, LATENCY, MESSAGE, RATE, Test
from .process import BenchError, Process

ATTEMPTS = 3             # a port may be taken between the choice and its use
START_SECONDS = 30       # until the server must listen
POLL_SECONDS = 0.002
HANG_SECONDS = 120       # no run is meant to take more than some seconds
WARMUP_MAX = 10000
ITERATIONS_MIN = 200
LEAST_BYTES = 1 << 30    # no more than these for the sake of iterations
LEAST_LARGE = 16         # but so many iterations
ITERATIONS_MAX = 20_000_000
PILOT_BYTES = 16 << 20   # how much the first, short run moves
PILOT_ITERATIONS = 5000
TCP_LISTEN = "0A"
NS_PER_US = 1e3

# What each interface of xshm writes to the log at its end
ACCESSES = re.compile(r"made (\d+) direct accesses and (\d+) by message")

LANE_TEST = Test("ucp", "tag_bw", 64 << 10, BANDWIDTH)


@dataclass
class Run:
    """What one run measured."""

    iterations: int
    median_ns: float   # of single iterations
    overall_ns: float  # total time by iterations
    value: float       # in the unit of the test

    @classmethod
    def parse(cls, test, output, failure):
        for line in reversed(output.splitlines()):
            fields = line.strip().split(",")
            if len(fields) == 8 and fields[0].isdigit():
                break
        else:
            raise failure("printed no figures")
        median = float(fields[1]) * NS_PER_US
        overall = float(fields[3]) * NS_PER_US
        rate = float(fields[7])
        value = {LATENCY: median, RATE: rate,
                 BANDWIDTH: rate * test.size}[test.value]
        return cls(int(fields[0]), median, overall, value)


def _least(test):
    return max(LEAST_LARGE, min(ITERATIONS_MIN, LEAST_BYTES // test.size))


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listening(port):
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in lines:
                    fields = line.split()
                    if (fields[1].endswith(wanted) and
                            fields[3] == TCP_LISTEN):
                        return True
        except FileNotFoundError:
            pass  # no IPv6 here
    return False


class Perftest:
    """Runs ucx_perftest for a contestant."""

    def __init__(self, cpus, launcher, environment):
        """launcher: puts what loads xshm before a command."""
        self._cpus = cpus
        self._launcher = launcher
        self._environment = environment
        self._iterations = {}

    def measure(self, contestant, test, seconds):
        """Run a test for about so many seconds."""
        key = (contestant.name, test)
        if key not in self._iterations:
            pilot = self._run(contestant, test, self._pilot(test))[0]
            self._iterations[key] = self._enough(test, pilot, seconds)
        return self._run(contestant, test, self._iterations[key])[0]

    def prove_lanes(self, contestant):
        """Fail unless UCP used this contestant's transports and no others."""
        output = self._run(contestant, LANE_TEST, ITERATIONS_MIN,
                           {"UCX_LOG_LEVEL": "info"})[1]
        shown = re.findall(r"ep_cfg\[\d+\]: (.*)", "".join(output))
        lanes = set(re.findall(r"([a-z0-9_]+)/", " ".join(shown)))
        if lanes != contestant.lanes():
            raise BenchError(
                f"{contestant.name}: UCP's lanes are on "
                f"{', '.join(sorted(lanes)) or 'nothing'}, not on "
                f"{', '.join(sorted(contestant.lanes()))}: these figures "
                "would be another transport's")
        return shown[0].strip()

    def prove_way(self, contestant, test):
        """Fail unless the peer's memory was accessed in the test's way only."""
        found = [sum(pair) for pair in zip(*self.accesses(contestant, test))]
        ways = {way for way, count in zip((DIRECT, MESSAGE), found) if count}
        if ways != {test.way}:
            raise BenchError(
                f"{test.label()}: {found[0]} direct accesses and {found[1]} by "
                f"message, where all have to be {test.way}: this figure would "
                "be another way's")

    def accesses(self, contestant, test):
        """Of the receiver and the sender, how many were direct and by message."""
        output = self._run(contestant, test, _least(test),
                           {"UCX_LOG_LEVEL": "debug"})[1]
        return [tuple(sum(int(pair[way]) for pair in ACCESSES.findall(text))
                      for way in (0, 1)) for text in output]

    @staticmethod
    def _pilot(test):
        return max(_least(test),
                   min(PILOT_ITERATIONS, PILOT_BYTES // test.size))

    @staticmethod
    def _enough(test, pilot, seconds):
        # a round trip takes two latencies
        trips = 2 if test.value == LATENCY else 1
        wanted = int(seconds * 1e9 / (trips * max(pilot.overall_ns, 1)))
        return max(_least(test), min(ITERATIONS_MAX, wanted))

    def _command(self, contestant, test, iterations):
        command = ["ucx_perftest", "-t", test.name, "-s", str(test.size),
                   "-n", str(iterations),
                   "-w", str(min(WARMUP_MAX, max(1, iterations // 10))),
                   "-f", "-v"]
        if test.level == "uct":
            device, transport = contestant.uct
            command += ["-d", device, "-x", transport, "-D", test.layout]
        return command

    def _run(self, contestant, test, iterations, extra=None):
        environment = dict(self._environment)
        environment.update(contestant.environment)
        environment.update(test.environment)
        environment.update(extra or {})
        command = self._command(contestant, test, iterations)
        if test.level == "ucp":
            environment["UCX_TLS"] = contestant.tls
        if contestant.needs_library:
            command = self._launcher(command, environment)
        for attempt in range(ATTEMPTS):
            try:
                return self._pair(command, environment, test)
            except BenchError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _pair(self, command, environment, test):
        port = _free_port()
        sides = [[*command, "-p", str(port), "-c", str(cpu)]
                 for cpu in self._cpus]
        with Process(sides[0], environment) as server:
            deadline = time.monotonic() + START_SECONDS
            while not _listening(port):
                if not server.running() or time.monotonic() > deadline:
                    raise server.failure("did not start to listen")
                time.sleep(POLL_SECONDS)
            with Process([*sides[1], "127.0.0.1"], environment) as client:
                client.wait(HANG_SECONDS)
                server.wait(HANG_SECONDS)
                run = Run.parse(test, client.output(), client.failure)
                return run, (server.output(), client.output())
