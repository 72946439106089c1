/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * uct_resources: what a peer costs. One process with one interface makes
 * endpoints to many interfaces in other processes, and counts its descriptors,
 * its shared mappings and its memory: while nothing was sent, when it has sent
 * to each, when each has sent to it, and when all endpoints are gone.
 *
 *   uct_resources [-t transport] [-d device] [-b: only print, no bounds]
 *   uct_resources ... peers ADDRESS       started by the former
 */

#define _GNU_SOURCE

#include "uct_common.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RES_PROCESSES   4
#define RES_PER_PROCESS 32
#define RES_PEERS       (RES_PROCESSES * RES_PER_PROCESS)
#define RES_PATIENCE    30.0
#define RES_SETTLE      0.3

/* What docs/ promises: a silent peer has no ring; an active one has, in each
 * direction in which something was sent, a ring of at most 64 KiB and the page
 * with what the receiver writes. */
#define RES_SILENT_SHARED   0
#define RES_SILENT_FDS      0
#define RES_SILENT_RESIDENT (4 * 1024)
#define RES_ACTIVE_SHARED   (64 * 1024 + 4 * 1024)
#define RES_ACTIVE_FDS      4
#define RES_ACTIVE_RESIDENT (64 * 1024 + 16 * 1024)

/* With UCX_XSHM_RING_SIZE=auto docs/ promises larger rings to the first peers of
 * each interface. We are the first peer of all of ours. */
#define RES_AUTO         "auto"
#define RES_NUM_LARGE    8
#define RES_LARGE_SHARED ((512 - 56) * 1024)
/* Not one more of them, and not one less */
#define RES_SENT       (64 * 1024 + RES_NUM_LARGE * RES_LARGE_SHARED / RES_PEERS)
#define RES_HALF_LARGE (RES_LARGE_SHARED / RES_PEERS / 2)

enum {
    RES_AM_HELLO = 1, /* An address */
    RES_AM_PING,      /* The second one is answered */
    RES_AM_PONG,
    RES_AM_BYE
};

typedef struct {
    int64_t fds;
    int64_t maps;
    int64_t shared;
    int64_t resident;
} res_size_t;

typedef struct {
    res_size_t most;
    int64_t    least_shared; /* Or 0 */
} res_bound_t;

typedef struct {
    utest_context_t context;
    utest_iface_t   iface;
    utest_address_t addresses[RES_PEERS];
    uct_ep_h        eps[RES_PEERS];
    pid_t           pids[RES_PROCESSES];
    int             hellos;
    int             pongs;
    int             bounded;
    const char     *tl_name;
    const char     *dev_name;
} res_t;

typedef struct {
    utest_context_t context;
    utest_iface_t   ifaces[RES_PER_PROCESS];
    int             pings;
    int             bye;
} res_peers_t;

static ucs_status_t
res_count(void *arg, void *data, size_t length, unsigned flags)
{
    ++*(int *)arg;
    return UCS_OK;
}

static ucs_status_t
res_got_hello(void *arg, void *data, size_t length, unsigned flags)
{
    res_t *res = arg;

    if (res->hellos == RES_PEERS) {
        utest_fail("more than %d peers", RES_PEERS);
    }
    utest_address_parse(&res->addresses[res->hellos++],
                        (char *)data + sizeof(uint64_t));
    return UCS_OK;
}

static void res_set_handler(utest_iface_t *iface, uint8_t id,
                            uct_am_callback_t callback, void *arg)
{
    utest_check(uct_iface_set_am_handler(iface->iface, id, callback, arg, 0),
                "uct_iface_set_am_handler");
}

static void
res_send(utest_iface_t *iface, uct_ep_h ep, uint8_t id, const char *text)
{
    utest_check(utest_send(iface, ep, id, UTEST_BCOPY, 0, text,
                           strlen(text) + 1, utest_now() + RES_PATIENCE),
                "send");
}

static void res_wait(utest_context_t *context, const int *counter, int count)
{
    double deadline = utest_now() + RES_PATIENCE;

    while ((*counter < count) && (utest_now() < deadline)) {
        uct_worker_progress(context->worker);
    }
    if (*counter < count) {
        utest_fail("%d messages came, not %d", *counter, count);
    }
}

/* One message to the interface that is measured, and nothing is left of it */
static void res_peer_say(utest_iface_t *iface, const utest_address_t *address,
                         uint8_t id, const char *text)
{
    uct_ep_h ep;

    utest_check(utest_connect(iface, address, &ep), "uct_ep_create");
    res_send(iface, ep, id, text);
    utest_check(utest_flush(iface, ep, utest_now() + RES_PATIENCE), "flush");
    uct_ep_destroy(ep);
}

static void res_peers_hello(res_peers_t *peers, const utest_address_t *address)
{
    utest_address_t mine;
    char            text[UTEST_TEXT_MAX];
    int             i;

    for (i = 0; i < RES_PER_PROCESS; ++i) {
        utest_iface_open(&peers->ifaces[i], &peers->context, NULL, NULL);
        res_set_handler(&peers->ifaces[i], RES_AM_PING, res_count,
                        &peers->pings);
        res_set_handler(&peers->ifaces[i], RES_AM_BYE, res_count, &peers->bye);
    }
    /* The first one speaks for all: the others are to be silent at first */
    for (i = 0; i < RES_PER_PROCESS; ++i) {
        utest_address_get(&peers->ifaces[i], &mine);
        utest_address_print(&mine, text);
        res_peer_say(&peers->ifaces[0], address, RES_AM_HELLO, text);
    }
}

static int res_peers(const res_t *res, const char *text)
{
    uct_ep_h        eps[RES_PER_PROCESS];
    utest_address_t address;
    res_peers_t     peers;
    int             i;

    memset(&peers, 0, sizeof(peers));
    utest_address_parse(&address, text);
    utest_context_open(&peers.context, res->tl_name, res->dev_name);
    res_peers_hello(&peers, &address);
    res_wait(&peers.context, &peers.pings, 2 * RES_PER_PROCESS);
    for (i = 0; i < RES_PER_PROCESS; ++i) {
        utest_check(utest_connect(&peers.ifaces[i], &address, &eps[i]),
                    "uct_ep_create");
        res_send(&peers.ifaces[i], eps[i], RES_AM_PONG, "");
    }
    res_wait(&peers.context, &peers.bye, RES_PER_PROCESS);
    for (i = 0; i < RES_PER_PROCESS; ++i) {
        uct_ep_destroy(eps[i]);
    }
    for (i = 0; i < RES_PER_PROCESS; ++i) {
        utest_iface_close(&peers.ifaces[i]);
    }
    utest_context_close(&peers.context);
    return EXIT_SUCCESS;
}

static void res_start_peers(res_t *res)
{
    utest_address_t address;
    char            text[UTEST_TEXT_MAX];
    int             i;

    utest_address_get(&res->iface, &address);
    utest_address_print(&address, text);
    for (i = 0; i < RES_PROCESSES; ++i) {
        res->pids[i] = fork();
        if (res->pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            execl("/proc/self/exe", "uct_resources", "-t", res->tl_name, "-d",
                  res->dev_name, "peers", text, NULL);
            _exit(EXIT_FAILURE);
        }
    }
    res_wait(&res->context, &res->hellos, RES_PEERS);
}

static void res_measure(res_t *res, res_size_t *size)
{
    double   end = utest_now() + RES_SETTLE;
    uint64_t shared;

    while (utest_now() < end) {
        uct_worker_progress(res->context.worker);
    }
    size->fds      = utest_count_fds();
    size->maps     = utest_count_maps(&shared);
    size->shared   = shared;
    size->resident = utest_resident();
}

static double res_per_peer(int64_t before, int64_t after)
{
    return (double)(after - before) / RES_PEERS;
}

/* Returns the number of violated bounds */
static int res_compare(const char *what, const res_size_t *before,
                       const res_size_t *after, const res_bound_t *bound)
{
    double fds      = res_per_peer(before->fds, after->fds);
    double shared   = res_per_peer(before->shared, after->shared);
    double resident = res_per_peer(before->resident, after->resident);

    printf("NOTE %-18s a peer: %6.2f descriptors, %5.2f mappings, %8.0f B "
           "shared, %8.0f B resident (at most %" PRId64 ", -, %" PRId64
           ", %" PRId64 "; at least %" PRId64 " B shared)\n",
           what, fds, res_per_peer(before->maps, after->maps), shared, resident,
           bound->most.fds, bound->most.shared, bound->most.resident,
           bound->least_shared);
    fflush(stdout);
    return (fds > bound->most.fds) + (shared > bound->most.shared) +
           (resident > bound->most.resident) +
           ((bound->least_shared > 0) && (shared < bound->least_shared));
}

static void res_send_all(res_t *res, uint8_t id)
{
    int i;

    for (i = 0; i < RES_PEERS; ++i) {
        res_send(&res->iface, res->eps[i], id, "");
    }
    for (i = 0; i < RES_PEERS; ++i) {
        utest_check(utest_flush(&res->iface, res->eps[i],
                                utest_now() + RES_PATIENCE),
                    "flush");
    }
}

static void res_connect_all(res_t *res)
{
    int i;

    for (i = 0; i < RES_PEERS; ++i) {
        utest_check(utest_connect(&res->iface, &res->addresses[i],
                                  &res->eps[i]),
                    "uct_ep_create");
    }
}

static int res_disconnect_all(res_t *res)
{
    int failed = 0;
    int i, status;

    for (i = 0; i < RES_PEERS; ++i) {
        uct_ep_destroy(res->eps[i]);
    }
    for (i = 0; i < RES_PROCESSES; ++i) {
        status = -1;
        while (waitpid(res->pids[i], &status, WNOHANG) == 0) {
            uct_worker_progress(res->context.worker);
        }
        failed += (status != 0);
    }
    return failed;
}

static int res_main(res_t *res)
{
    static const res_bound_t silent  = {{.fds      = RES_SILENT_FDS,
                                         .shared   = RES_SILENT_SHARED,
                                         .resident = RES_SILENT_RESIDENT}};
    static const res_bound_t nothing = {{.resident = RES_SILENT_RESIDENT}};
    res_bound_t              sent_to = {{.fds      = RES_ACTIVE_FDS,
                                         .shared   = RES_ACTIVE_SHARED,
                                         .resident = RES_ACTIVE_RESIDENT}};
    res_bound_t              received_from = sent_to;
    const char              *ring_size     = getenv("UCX_XSHM_RING_SIZE");
    res_size_t               base, connected, sent, received, gone;
    int                      failed = 0;

    if ((ring_size != NULL) && !strcmp(ring_size, RES_AUTO)) {
        sent_to.most.shared  = RES_SENT + RES_HALF_LARGE;
        sent_to.least_shared = RES_SENT - RES_HALF_LARGE;
        received_from.most.shared += RES_LARGE_SHARED;
        received_from.least_shared = RES_LARGE_SHARED;
    }

    utest_context_open(&res->context, res->tl_name, res->dev_name);
    utest_iface_open(&res->iface, &res->context, NULL, NULL);
    res_set_handler(&res->iface, RES_AM_HELLO, res_got_hello, res);
    res_set_handler(&res->iface, RES_AM_PONG, res_count, &res->pongs);
    res_start_peers(res);

    printf("NOTE %d peers in %d processes\n", RES_PEERS, RES_PROCESSES);
    res_measure(res, &base);
    res_connect_all(res);
    res_measure(res, &connected);
    failed += res_compare("silent", &base, &connected, &silent);

    res_send_all(res, RES_AM_PING);
    res_measure(res, &sent);
    failed += res_compare("sent to", &connected, &sent, &sent_to);

    res_send_all(res, RES_AM_PING);
    res_wait(&res->context, &res->pongs, RES_PEERS);
    res_measure(res, &received);
    failed += res_compare("received from", &sent, &received, &received_from);

    res_send_all(res, RES_AM_BYE);
    failed += res_disconnect_all(res);
    res_measure(res, &gone);
    failed += res_compare("gone", &base, &gone, &nothing);

    utest_iface_close(&res->iface);
    utest_context_close(&res->context);
    if ((failed > 0) && res->bounded) {
        utest_fail("%d bounds were violated", failed);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    res_t *res = calloc(1, sizeof(*res));
    int    c;

    if (res == NULL) {
        utest_fail("no memory");
    }
    res->tl_name  = "xshm";
    res->dev_name = "local";
    res->bounded  = 1;
    while ((c = getopt(argc, argv, "t:d:b")) != -1) {
        if (c == 't') {
            res->tl_name = optarg;
        } else if (c == 'd') {
            res->dev_name = optarg;
        } else if (c == 'b') {
            res->bounded = 0;
        } else {
            utest_fail("usage: uct_resources [-t transport] [-d device] [-b]");
        }
    }
    if ((optind + 2 == argc) && !strcmp(argv[optind], "peers")) {
        return res_peers(res, argv[optind + 1]);
    }
    return res_main(res);
}
