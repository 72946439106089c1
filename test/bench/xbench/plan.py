"""What is compared: the contestants, the tests, and the targets.

SPDX-License-Identifier: BSD-3-Clause
"""

from dataclasses import dataclass, field

# What a test's value is
LATENCY = "latency"      # nanoseconds, one way; less is better
RATE = "rate"            # messages a second
BANDWIDTH = "bandwidth"  # bytes a second


@dataclass(frozen=True)
class Contestant:
    """A transport, or several together, under one name."""

    name: str
    tls: str                 # UCX_TLS for UCP: these and nothing else
    uct: tuple = ()          # device and transport for UCT; empty: has no UCT
    needs_library: bool = False
    environment: dict = field(default_factory=dict)

    def lanes(self):
        """The transports that UCP must show, and no others."""
        return set(self.tls.split(","))


@dataclass(frozen=True)
class Test:
    """One of ucx_perftest's tests with one size of message."""

    level: str   # "uct" or "ucp"
    name: str
    size: int
    value: str
    layout: str = ""  # UCT only
    environment: tuple = ()  # variables: (name, value)
    note: str = ""
    way: str = ""  # how the peer's memory has to be accessed; none: it is not

    def title(self):
        """What it is, without its size."""
        return " ".join(filter(None, (self.level, self.name, self.layout,
                                      self.note)))

    def label(self):
        layout = f" {self.layout}" if self.layout else ""
        note = f" {self.note}" if self.note else ""
        return f"{self.level} {self.name}{layout} {size_text(self.size)}{note}"


@dataclass(frozen=True)
class Figure:
    """A row of a table with figures that ucx_perftest does not take."""

    part: str
    row: str
    unit: str
    scale: float = 1.0  # what a value is divided by when it is shown


@dataclass(frozen=True)
class Placement:
    """So many ranks of an MPI program on so many CPUs."""

    ranks: int
    cpus: int

    def figures(self):
        """Latency, and processor time of a message."""
        where = (f"{self.ranks} ranks on {self.cpus} "
                 f"CPU{'s' if self.cpus > 1 else ''}")
        return (Figure("yield", f"{where}: latency", "us", 1e3),
                Figure("yield", f"{where}: processor time", "us", 1e3))


@dataclass(frozen=True)
class Target:
    """A bound for the ratio of two figures, given by their keys."""

    what: str
    key: tuple
    over: tuple
    relation: str
    bound: float

    def met(self, value):
        return {"<=": value <= self.bound, "<": value < self.bound,
                ">=": value >= self.bound, ">": value > self.bound
                }[self.relation]


# Keys of figures: what was measured, and of whom
def test_key(test, name):
    return ("test", test, name)


def limit_key(program, case):
    return ("limit", program, case)


def idle_key(name, channels):
    return ("idle", channels, name)


def instructions_key(name, what):
    return ("instructions", what, name)


def figure_key(figure, name):
    return ("figure", figure, name)


def size_text(size):
    """A size as people write it: 8 B, 64 KiB."""
    for unit, bytes_ in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_ and size % bytes_ == 0:
            return f"{size // bytes_} {unit}"
    return f"{size} B"


SUBJECT = "xshm"
BASELINE = "posix"
SINGLE_COPY = "posix+cma"



def _subject(name, **settings):
    """xshm, with settings of its own."""
    return Contestant(name, "xshm", ("local", "xshm"), needs_library=True,
                      environment=settings)


CONTESTANTS = [
    _subject(SUBJECT),
    Contestant(BASELINE, "posix", ("memory", "posix")),
    Contestant(SINGLE_COPY, "posix,cma"),
    Contestant("xshm+cma", "xshm,cma", needs_library=True),
    Contestant("sysv", "sysv", ("memory", "sysv")),
    Contestant("tcp", "tcp", ("lo", "tcp"),
               environment={"UCX_NET_DEVICES": "lo"}),
]

AM_LAT = Test("uct", "am_lat", 8, LATENCY, "short")
AM_RATE = Test("uct", "am_bw", 8, RATE, "short")
AM_BCOPY = Test("uct", "am_bw", 8192, BANDWIDTH, "bcopy")
TAG_LAT = Test("ucp", "tag_lat", 8, LATENCY)


def _tag_bw(size):
    """Between buffers that ucx_perftest has allocated by UCX, its default."""
    return Test("ucp", "tag_bw", size, BANDWIDTH, note="allocated")


HEAP = (("UCX_ALLOC_PRIO", "heap"),)


def _tag_bw_heap(size):
    """Between buffers of malloc(), which is what most programs have."""
    return Test("ucp", "tag_bw", size, BANDWIDTH, note="malloc'ed",
                environment=HEAP)


TAG_64K = _tag_bw(64 << 10)
TAG_1M = _tag_bw(1 << 20)
TAG_64K_HEAP = _tag_bw_heap(64 << 10)
TAG_1M_HEAP = _tag_bw_heap(1 << 20)

TESTS = [AM_LAT, AM_RATE, AM_BCOPY, TAG_LAT, TAG_64K, TAG_1M, TAG_64K_HEAP,
         TAG_1M_HEAP]

# Access to the other side's memory; 64 KiB and "by message" are xshm's alone
DIRECT, MESSAGE = "direct", "message"
BY_MESSAGE = {"environment": (("UCX_XSHM_RMA", "message"),),
              "note": "by message", "way": MESSAGE}
ATOMICS = ["add_mr", "fadd", "swap", "cswap"]


def _direct(name, size, value, layout):
    return Test("uct", name, size, value, layout, way=DIRECT)


PUT_LAT = _direct("put_lat", 8, LATENCY, "short")
PUT_8K = _direct("put_bw", 8192, BANDWIDTH, "bcopy")
RMA_TESTS = [
    PUT_LAT, PUT_8K,
    _direct("get", 8, RATE, "bcopy"),
    _direct("get", 2048, BANDWIDTH, "bcopy"),
    *[_direct(name, size, RATE, "short")
      for name in ATOMICS for size in (8, 4)],
]
PUT_64K = _direct("put_bw", 64 << 10, BANDWIDTH, "zcopy")
PUT_8K_MESSAGE = Test("uct", "put_bw", 8192, BANDWIDTH, "bcopy", **BY_MESSAGE)
# The handler of am_bw does not look at its data; a put has to copy it
AM_BCOPY_COPIED = Test("uct", "am_bw", 8192, BANDWIDTH, "bcopy",
                       environment=(("UCX_XSHM_COPY_OUT", "on"),),
                       note="copied out")
RMA_OWN_TESTS = [
    PUT_64K, _direct("get", 64 << 10, BANDWIDTH, "zcopy"),
    PUT_8K_MESSAGE, AM_BCOPY_COPIED,
    Test("uct", "put_lat", 8, LATENCY, "short", **BY_MESSAGE),
    Test("uct", "get", 8, RATE, "bcopy", **BY_MESSAGE),
    Test("uct", "get", 2048, BANDWIDTH, "bcopy", **BY_MESSAGE),
    Test("uct", "get", 64 << 10, BANDWIDTH, "zcopy", **BY_MESSAGE),
    *[Test("uct", "fadd", size, RATE, "short", **BY_MESSAGE)
      for size in (8, 4)],
]

# More sizes, for the picture
PICTURE_LATENCY = [Test("ucp", "tag_lat", 1 << bits, LATENCY)
                   for bits in range(0, 17, 2)]
PICTURE_BANDWIDTH = [_tag_bw(1 << bits) for bits in range(6, 23, 2)]
PICTURE_CONTESTANTS = [SUBJECT, BASELINE, SINGLE_COPY, "tcp"]

IDLE_CHANNELS = [1, 64, 1024]
IDLE_PROCESSES = 8  # that the silent senders are spread over

# What it costs to take messages out of the shared memory before they are
# handed up. Large ones go through the ring only if they are malloc'ed.
COPY_OUT = [_subject("in place", UCX_XSHM_COPY_OUT="off"),
            _subject("copied out", UCX_XSHM_COPY_OUT="on")]
COPY_OUT_TESTS = [
    *[Test("uct", "am_bw", size, BANDWIDTH, "bcopy")
      for size in (64, 1 << 10, 8 << 10)],
    *[_tag_bw_heap(size) for size in (64, 1 << 10, 8 << 10, 64 << 10)],
]

# Which way to the ring is the faster one here, by length. UCP sends messages of
# these lengths from the user's buffer (zcopy).
CACHES = [_subject("past caches", UCX_XSHM_NT_MIN="0"),
          _subject("through them", UCX_XSHM_NT_MIN="inf")]
CACHES_TESTS = [
    *[_tag_bw_heap(size << 10) for size in (2, 4, 8, 16, 64, 1 << 10)],
    *[Test("ucp", "tag_lat", size << 10, LATENCY, note="malloc'ed",
           environment=HEAP) for size in (2, 4, 8, 16, 64)],
]

# What UCP's rendezvous does with large messages: what it chooses by itself, and
# what it can be told to
RNDV = [_subject(scheme, UCX_RNDV_SCHEME=scheme)
        for scheme in ("auto", "get_zcopy", "put_zcopy")]
RNDV_TESTS = [tag_bw(size << 10)
              for tag_bw in (_tag_bw, _tag_bw_heap)
              for size in (64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10)]

# Ways to wait: (contestant, how), with pauses between messages in microseconds
SLEEP = [
    (_subject("xshm polls"), "poll"),
    (_subject("sleeps at once", UCX_XSHM_SPIN="0"), "sleep"),
    (_subject("sleeps"), "sleep"),
    (Contestant("posix sleeps", "posix"), "sleep"),
    (Contestant("tcp sleeps", "tcp", environment={"UCX_NET_DEVICES": "lo"}),
     "sleep"),
]
SLEEP_PAUSES = [0, 10, 100, 1000]


def sleep_figures(pause):
    """Latency, and processor time of the one who waits, for each message."""
    when = f"{pause} us between" if pause else "no pause"
    return (Figure("sleep", f"{when}: latency", "us", 1e3),
            Figure("sleep", f"{when}: processor time", "us", 1e3))


# Who gives up the processor: xshm after so many empty polls, or Open MPI
YIELD = [
    _subject(name, UCX_XSHM_YIELD=polls, OMPI_MCA_mpi_yield_when_idle=idle)
    for name, polls, idle in (
        ("nobody", "0", "0"), ("xshm", "300", "0"),
        ("xshm early", "100", "0"), ("xshm late", "4000", "0"),
        ("Open MPI", "0", "1"), ("both", "300", "1"))
]
YIELD_PLACEMENTS = [Placement(2, 2), Placement(2, 1), Placement(4, 2),
                    Placement(4, 1)]

SEND = "am_short sent"
RECEIVE = "am_short received"
HOP = limit_key("hop", "same")


def _against(test, name, relation, bound):
    return Target(f"{test.label()}: {SUBJECT} / {name}",
                  test_key(test, SUBJECT), test_key(test, name), relation,
                  bound)


def _fewer_instructions(what):
    return Target(f"instructions, {what}: {SUBJECT} / {BASELINE}",
                  instructions_key(SUBJECT, what),
                  instructions_key(BASELINE, what), "<", 1.0)


# What issue 4 asks for
RMA_TARGETS = [
    _against(PUT_LAT, BASELINE, "<=", 1.0),
    *[_against(test, BASELINE, ">=", 1.0) for test in RMA_TESTS[1:]],
    Target(f"{PUT_64K.label()}: {SUBJECT} / memcpy",
           test_key(PUT_64K, SUBJECT), limit_key("copy", "memcpy 65536"),
           ">=", 0.9),
    Target(f"{PUT_8K_MESSAGE.label()} / {AM_BCOPY.label()}: {SUBJECT}",
           test_key(PUT_8K_MESSAGE, SUBJECT), test_key(AM_BCOPY, SUBJECT),
           ">=", 0.7),
    Target(f"{PUT_8K_MESSAGE.label()} / {AM_BCOPY_COPIED.label()}: {SUBJECT}",
           test_key(PUT_8K_MESSAGE, SUBJECT),
           test_key(AM_BCOPY_COPIED, SUBJECT), ">=", 0.7),
]

# What issue 2 asks for
TARGETS = [
    _against(AM_LAT, BASELINE, "<=", 0.7),
    Target(f"{AM_LAT.label()}: {SUBJECT} / hop", test_key(AM_LAT, SUBJECT),
           HOP, "<=", 1.6),
    _against(AM_RATE, BASELINE, ">=", 2.5),
    _against(AM_BCOPY, BASELINE, ">=", 1.0),
    _against(TAG_LAT, BASELINE, "<=", 1.0),
    _against(TAG_64K, BASELINE, ">", 1.0),
    _against(TAG_64K, SINGLE_COPY, ">", 1.0),
    _against(TAG_1M, BASELINE, ">", 1.0),
    _against(TAG_1M, SINGLE_COPY, ">", 1.0),
    Target("empty progress: 1024 idle channels / 1", idle_key(SUBJECT, 1024),
           idle_key(SUBJECT, 1), "<=", 1.5),
    _fewer_instructions(SEND),
    _fewer_instructions(RECEIVE),
    *RMA_TARGETS,
]
