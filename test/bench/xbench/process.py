"""Starting processes such that none is left behind, whatever happens.

SPDX-License-Identifier: BSD-3-Clause
"""

import ctypes
import os
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
LOG_TAIL = 15  # lines of output that are shown when a command fails

_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something failed that the user should read about in one line."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A command with its output in a file, killed when its block ends."""

    def __init__(self, command, environment):
        self.command = command
        self._output = tempfile.TemporaryFile(mode="w+")
        try:
            self._popen = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL,
                stdout=self._output, stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent)
        except OSError as error:
            raise BenchError(f"cannot run {command[0]}: {error.strerror}"
                             ) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        self._output.close()

    @property
    def pid(self):
        return self._popen.pid

    def running(self):
        return self._popen.poll() is None

    def output(self):
        self._output.seek(0)
        return self._output.read()

    def failure(self, reason):
        """A BenchError that tells what this process did last."""
        lines = self.output().strip().splitlines()[-LOG_TAIL:]
        return BenchError("\n    ".join(
            [f"{' '.join(self.command)}: {reason}", *lines]))

    def wait(self, seconds):
        """Wait for the end; raise BenchError unless it is a good one."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"no end after {seconds} s") from None
        if status != 0:
            raise self.failure(f"status {status}")


def run(command, environment, seconds):
    """Run a command and return what it printed."""
    with Process(command, environment) as process:
        process.wait(seconds)
        return process.output()


class Disturbance:
    """How much of our CPUs' time others took since this was made."""

    def __init__(self, cpus):
        self._cpus = {f"cpu{cpu}" for cpu in cpus}
        self._start = self._read()

    def _read(self):
        """Seconds that the CPUs worked, and that our children did."""
        ticks = os.sysconf("SC_CLK_TCK")
        busy = 0
        with open("/proc/stat", encoding="ascii") as lines:
            for line in lines:
                name, *times = line.split()
                if name in self._cpus:
                    # user, nice, system, irq, softirq, steal
                    busy += sum(int(times[i]) for i in (0, 1, 2, 5, 6, 7))
        ours = os.times()
        return (busy / ticks, ours.children_user + ours.children_system,
                time.monotonic())

    def share(self):
        """Others' time, by all the time that the CPUs had."""
        busy, ours, elapsed = (now - then for now, then
                               in zip(self._read(), self._start))
        return max(0, busy - ours) / (elapsed * len(self._cpus))


def clean_environment():
    """Our environment without what would change how UCX works.

    UCX_XSHM_... is kept: it is how somebody tries a setting of the transport.
    """
    return {name: value for name, value in os.environ.items()
            if name != "LD_PRELOAD" and
            (not name.startswith("UCX_") or name.startswith("UCX_XSHM_"))}
