/*
 * What it costs to find that none of many channels has a message.
 *
 * usage: uct_idle [--cpus A,B] [--processes P] [--calls N]
 *                 TRANSPORT DEVICE CHANNELS
 *
 * One interface receives. CHANNELS interfaces in P other processes each send
 * it one message and fall silent, but stay connected. Then the receiver's
 * progress is called, and nothing ever comes: prints one CSV line with the
 * time of a call, the lowest decile of many blocks. With --calls it is called
 * just so often, in idle_progress(), for callgrind to count.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#include "../functional/uct_common.h"

#include <sys/resource.h>

#define AM_ID         1
#define BLOCKS        101
#define BLOCK_SIZE    1000
#define MAX_PROCESSES 256
#define SETTLE        200000 /* calls until silent channels count as idle */
#define PATIENCE      120.0  /* seconds for connecting all */

typedef struct {
    const char *transport;
    const char *device;
    unsigned    channels;
    unsigned    processes;
    unsigned    calls;
    int         cpus[2];
} options_t;

typedef struct {
    pid_t pid;
    int   go;   /* write: the receiver's address, then its closing */
    int   done; /* read: a byte once all is sent */
} child_t;

static ucs_status_t
am_handler(void *arg, void *data, size_t length, unsigned flags)
{
    ++*(unsigned *)arg;
    return UCS_OK;
}

static void read_all(int fd, void *data, size_t length)
{
    size_t  done = 0;
    ssize_t ret;

    for (; done < length; done += ret) {
        ret = read(fd, (uint8_t *)data + done, length - done);
        if (ret <= 0) {
            utest_fail("the other process has gone");
        }
    }
}

static void write_all(int fd, const void *data, size_t length)
{
    if (write(fd, data, length) != (ssize_t)length) {
        utest_fail("cannot write to the other process: %m");
    }
}

static void
senders_run(const options_t *options, unsigned count, int go, int done)
{
    utest_iface_t         *ifaces = calloc(count, sizeof(*ifaces));
    uct_ep_h              *eps    = calloc(count, sizeof(*eps));
    static utest_context_t context;
    static utest_address_t address;
    uint8_t                byte = 0;
    unsigned               i;

    read_all(go, &address, sizeof(address));
    utest_context_open(&context, options->transport, options->device);
    for (i = 0; i < count; ++i) {
        utest_iface_open(&ifaces[i], &context, NULL, NULL);
        utest_check(utest_connect(&ifaces[i], &address, &eps[i]),
                    "uct_ep_create");
        utest_check(utest_send(&ifaces[i], eps[i], AM_ID, UTEST_SHORT, i, NULL,
                               0, utest_now() + PATIENCE),
                    "a sender's message");
    }
    for (i = 0; i < count; ++i) {
        utest_check(utest_flush(&ifaces[i], eps[i], utest_now() + PATIENCE),
                    "a sender's flush");
    }

    write_all(done, &byte, sizeof(byte));
    /* silent, but connected, until the receiver has been timed */
    if (read(go, &byte, sizeof(byte)) != 0) {
        utest_fail("the receiver sent more than its address");
    }
    for (i = 0; i < count; ++i) {
        uct_ep_destroy(eps[i]);
        utest_iface_close(&ifaces[i]);
    }
    utest_context_close(&context);
}

static void child_start(const options_t *options, child_t *child,
                        child_t *others, unsigned count)
{
    int go[2], done[2];

    if ((pipe(go) != 0) || (pipe(done) != 0)) {
        bench_die("pipe");
    }

    child->pid = bench_fork();
    if (child->pid == 0) {
        close(go[1]);
        close(done[0]);
        /* else a sibling would never see that the receiver closes its pipe */
        for (; others < child; ++others) {
            close(others->go);
        }
        bench_pin(options->cpus[1]);
        senders_run(options, count, go[0], done[1]);
        _exit(EXIT_SUCCESS);
    }

    close(go[0]);
    close(done[1]);
    child->go   = go[1];
    child->done = done[0];
}

unsigned idle_progress(uct_worker_h worker, unsigned calls);

BENCH_COUNTED unsigned idle_progress(uct_worker_h worker, unsigned calls)
{
    unsigned found = 0;
    unsigned i;

    for (i = 0; i < calls; ++i) {
        found += uct_worker_progress(worker);
    }
    return found;
}

static void idle_time(const options_t *options, uct_worker_h worker)
{
    double   times[BLOCKS], start;
    unsigned block;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        idle_progress(worker, BLOCK_SIZE);
        times[block] = (bench_now() - start) / BLOCK_SIZE;
    }
    printf("idle,%s,channels,%u,ns,%.2f\n", options->transport,
           options->channels, bench_undisturbed(times, BLOCKS));
}

static void receiver_run(const options_t *options, child_t *children)
{
    static utest_context_t   context;
    static utest_iface_t     iface;
    static utest_address_t   address;
    static volatile unsigned received;
    double                   deadline = utest_now() + PATIENCE;
    uint8_t                  byte;
    unsigned                 i;

    utest_context_open(&context, options->transport, options->device);
    utest_iface_open(&iface, &context, NULL, NULL);
    utest_check(uct_iface_set_am_handler(iface.iface, AM_ID, am_handler,
                                         (void *)&received, 0),
                "uct_iface_set_am_handler");
    utest_address_get(&iface, &address);
    for (i = 0; i < options->processes; ++i) {
        write_all(children[i].go, &address, sizeof(address));
    }
    while (received < options->channels) {
        uct_worker_progress(context.worker);
        if (utest_now() > deadline) {
            utest_fail("only %u of %u channels sent their message", received,
                       options->channels);
        }
    }
    for (i = 0; i < options->processes; ++i) {
        read_all(children[i].done, &byte, sizeof(byte));
    }

    /* A transport may look at a channel more often for a while after it had a
     * message. Not by idle_progress(), in which callgrind counts. */
    for (i = 0; i < SETTLE; ++i) {
        uct_worker_progress(context.worker);
    }
    if (options->calls > 0) {
        idle_progress(context.worker, options->calls);
    } else {
        idle_time(options, context.worker);
    }

    for (i = 0; i < options->processes; ++i) {
        close(children[i].go);
    }
    for (i = 0; i < options->processes; ++i) {
        bench_join(children[i].pid);
    }
    utest_iface_close(&iface);
    utest_context_close(&context);
}

/* A channel may need some descriptors on either side. */
static void descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void usage(void)
{
    fprintf(stderr, "usage: uct_idle [--cpus A,B] [--processes P] "
                    "[--calls N] TRANSPORT DEVICE CHANNELS\n");
    exit(EXIT_FAILURE);
}

static void options_parse(options_t *options, int argc, char **argv)
{
    static const struct option names[] = {
            {"cpus", required_argument, NULL, 'c'},
            {"processes", required_argument, NULL, 'p'},
            {"calls", required_argument, NULL, 'n'},
            {NULL, 0, NULL, 0}};
    int opt;

    options->processes = 1;
    options->cpus[1]   = 1;
    while ((opt = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (opt) {
        case 'c':
            bench_parse_cpus(optarg, options->cpus);
            break;
        case 'p':
            options->processes = atoi(optarg);
            break;
        case 'n':
            options->calls = atoi(optarg);
            break;
        default:
            usage();
        }
    }

    if (argc - optind != 3) {
        usage();
    }
    options->transport = argv[optind];
    options->device    = argv[optind + 1];
    options->channels  = atoi(argv[optind + 2]);
    if ((options->processes < 1) || (options->processes > MAX_PROCESSES) ||
        (options->channels < options->processes)) {
        fprintf(stderr,
                "uct_idle: 1 to %d processes, and as many channels or "
                "more\n",
                MAX_PROCESSES);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    static child_t children[MAX_PROCESSES];
    options_t      options = {0};
    unsigned       i, share;

    options_parse(&options, argc, argv);
    descriptors_raise();
    for (i = 0; i < options.processes; ++i) {
        share = (options.channels / options.processes) +
                (i < (options.channels % options.processes));
        child_start(&options, &children[i], children, share);
    }

    bench_pin(options.cpus[0]);
    receiver_run(&options, children);
    return 0;
}
