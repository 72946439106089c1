"""The programs in test/bench: this machine's limits, and what UCT calls cost.

SPDX-License-Identifier: BSD-3-Clause
"""

import os
import re
import shutil
import tempfile

from .plan import limit_key
from .process import BenchError, Process, run

SECONDS = 300             # no program is meant to take more than some
# Open MPI takes UCX, whatever the transport; root need not be told that he is
MPI_SETTINGS = {"OMPI_MCA_pml": "ucx", "OMPI_MCA_opal_common_ucx_tls": "any",
                "OMPI_MCA_opal_common_ucx_devices": "any",
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
COUNT_MESSAGES = (1600, 16000)
COUNT_CALLS = (200_000, 400_000)


class Programs:
    """Runs the programs of a build folder."""

    def __init__(self, folder, cpus, launcher, environment):
        self._folder = folder
        self._cpus = f"{cpus[0]},{cpus[1]}"
        self._launcher = launcher
        self._environment = environment

    def _path(self, name):
        path = os.path.join(self._folder, name)
        if not os.access(path, os.X_OK):
            raise BenchError(f"{path} is not built: run contrib/quickstart, "
                             f"then \"make -C '{self._folder}' check\"")
        return path

    def _mpi_path(self, name):
        return self._path(os.path.join("..", "mpi", name))

    def limits(self, name, results, round_):
        """Run hop, spsc, copy or uct_null."""
        output = run([self._path(name), "--cpus", self._cpus],
                     self._environment, SECONDS)
        for line in output.splitlines():
            program, case, unit, value = line.split(",")
            value = float(value) * (1e6 if unit == "MB/s" else 1)
            results.add(limit_key(program, case), round_, value)

    def _command(self, contestant, *arguments):
        environment = {**self._environment, **contestant.environment}
        command = list(arguments)
        if contestant.needs_library:
            command = self._launcher(command, environment)
        return command, environment

    def idle(self, contestant, channels, processes):
        """Nanoseconds of a progress call with so many silent channels."""
        device, transport = contestant.uct
        output = run(*self._command(
            contestant, self._path("uct_idle"), "--cpus", self._cpus,
            "--processes", str(min(processes, channels)), transport, device,
            str(channels)), SECONDS)
        return float(output.split(",")[5])

    def pace(self, contestant, how, pause, seconds):
        """Nanoseconds of latency, and of the server's processor, a message."""
        command, environment = self._command(
            contestant, self._path("ucp_pace"), "--cpus", self._cpus, how,
            str(pause), str(seconds))
        environment["UCX_TLS"] = contestant.tls
        output = run(command, environment, SECONDS)
        return [float(value) for value in output.split(",")[3:5]]

    def pingpong(self, contestant, placement, seconds):
        """The same of MPI: nanoseconds of the processors of all ranks."""
        cpus = self._cpus.split(",")[:placement.cpus]
        command, environment = self._command(
            contestant, "taskset", "-c", ",".join(cpus), "mpirun",
            "--oversubscribe", "--bind-to",
            "core" if placement.ranks <= len(cpus) else "none", "-np",
            str(placement.ranks), self._mpi_path("pingpong"), str(seconds))
        environment.update(MPI_SETTINGS, UCX_TLS=f"{contestant.tls},self")
        output = run(command, environment, SECONDS)
        found = re.search(r"^pingpong,\d+,([\d.]+),([\d.]+)$", output, re.M)
        if found is None:
            raise BenchError(f"pingpong printed no figures: {output}")
        return [float(value) for value in found.groups()]

    def _callgrind(self, contestant, function, program, *arguments):
        """Instructions that were executed in a function."""
        with tempfile.TemporaryDirectory(prefix="xshm_bench.") as folder:
            command, environment = self._command(
                contestant, "valgrind", "-q", "--tool=callgrind",
                f"--callgrind-out-file={folder}/%p",
                f"--toggle-collect={function}", self._path(program),
                *arguments)
            with Process(command, environment) as process:
                process.wait(SECONDS)
                path = os.path.join(folder, str(process.pid))
                with open(path, encoding="utf-8") as lines:
                    totals = re.search(r"^totals: (\d+)", lines.read(), re.M)
        if totals is None:
            raise BenchError(f"callgrind counted nothing in {program}")
        return int(totals.group(1))

    @staticmethod
    def _difference(counts, count):
        """What one costs, from what few and what many cost."""
        few, many = counts
        return (count(many) - count(few)) / (many - few)

    def message_instructions(self, contestant, direction):
        """Instructions of an am_short that is sent, or received."""
        device, transport = contestant.uct
        return self._difference(COUNT_MESSAGES, lambda count: self._callgrind(
            contestant, f"count_{direction}", "uct_count", transport, device,
            str(count)))

    def idle_instructions(self, contestant, channels):
        """Instructions of a progress call that finds nothing."""
        device, transport = contestant.uct
        return self._difference(COUNT_CALLS, lambda count: self._callgrind(
            contestant, "idle_progress", "uct_idle", "--cpus", self._cpus,
            "--calls", str(count), transport, device, str(channels)))


def valgrind_missing():
    """Why instructions cannot be counted, or None."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    return None
