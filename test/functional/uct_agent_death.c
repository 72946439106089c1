/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Commands of uct_agent: ways to end, and what a survivor has under way when its
 * peer does so.
 */

#include "uct_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGENT_LOAD_REQUESTS 3    /* That wait for room */
#define AGENT_LOAD_GET      1000 /* Bytes */
#define AGENT_MSEC          1000

/* What is under way on one endpoint when its peer dies */
static struct {
    uct_completion_t  get;
    uct_completion_t  flush;
    uct_pending_req_t requests[AGENT_LOAD_REQUESTS];
    unsigned          purged;
    uct_rkey_bundle_t key;
    uint8_t           data[AGENT_LOAD_GET];
} load;


static void agent_completed(uct_completion_t *completion)
{
}

static void agent_init_completion(uct_completion_t *completion)
{
    completion->func   = agent_completed;
    completion->count  = 1;
    completion->status = UCS_OK;
}

static void agent_store(void *arg, const void *data, size_t length)
{
    memcpy(arg, data, length);
}

static void agent_unpack_key(const char *text)
{
    uint8_t key[UTEST_ADDRESS_MAX];
    size_t  length;

    utest_hex_parse(text, key, &length);
    utest_check(uct_rkey_unpack(agent.context.component, key, &load.key),
                "uct_rkey_unpack");
}

/* What the peer, which makes no progress, will not do */
static void agent_load_operations(uct_ep_h ep, uint64_t address)
{
    ucs_status_t status;

    agent_init_completion(&load.get);
    status = uct_ep_get_bcopy(ep, agent_store, load.data, AGENT_LOAD_GET,
                              address, load.key.rkey, &load.get);
    if (status != UCS_INPROGRESS) {
        utest_fail("get: %s", ucs_status_string(status));
    }

    agent_init_completion(&load.flush);
    status = uct_ep_flush(ep, 0, &load.flush);
    if (status != UCS_INPROGRESS) {
        utest_fail("flush: %s", ucs_status_string(status));
    }
}

static unsigned agent_load_ring(uct_ep_h ep)
{
    double       deadline = utest_now() + AGENT_PATIENCE;
    unsigned     count    = 0;
    ucs_status_t status;

    do {
        status = utest_try_send(&agent.ifaces[0], ep, AGENT_AM_ID, UTEST_SHORT,
                                0, load.data, AGENT_LOAD_GET);
        count += (status == UCS_OK);
    } while ((status == UCS_OK) && (utest_now() < deadline));

    if (status != UCS_ERR_NO_RESOURCE) {
        utest_fail("the ring has not become full: %s",
                   ucs_status_string(status));
    }
    return count;
}

static ucs_status_t agent_never_sent(uct_pending_req_t *request)
{
    return UCS_ERR_NO_RESOURCE;
}

static void agent_load_requests(uct_ep_h ep)
{
    int i;

    load.purged = 0;
    for (i = 0; i < AGENT_LOAD_REQUESTS; ++i) {
        load.requests[i].func = agent_never_sent;
        utest_check(uct_ep_pending_add(ep, &load.requests[i], 0),
                    "uct_ep_pending_add");
    }
}

void agent_fill(char *arguments)
{
    uct_ep_h ep      = agent_find(strsep(&arguments, " "))->ep;
    uint64_t address = strtoull(strsep(&arguments, " "), NULL, 0);
    unsigned count;

    agent_unpack_key(arguments);
    agent_load_operations(ep, address);
    count = agent_load_ring(ep);
    agent_load_requests(ep);
    printf("ok %u\n", count);
}

static void agent_purged(uct_pending_req_t *request, void *arg)
{
    ++load.purged;
}

static const char *agent_completion_string(const uct_completion_t *completion)
{
    return (completion->count > 0) ? "under way" :
                                     ucs_status_string(completion->status);
}

void agent_outcome(char *arguments)
{
    uct_ep_pending_purge(agent_find(arguments)->ep, agent_purged, NULL);
    utest_check(uct_rkey_release(agent.context.component, &load.key),
                "uct_rkey_release");
    printf("ok %s, %s, %u\n", agent_completion_string(&load.get),
           agent_completion_string(&load.flush), load.purged);
}

void agent_check(char *arguments)
{
    agent_answer(uct_ep_check(agent_find(arguments)->ep, 0, NULL));
}

static int agent_event_fd(void)
{
    int fd;

    utest_check(uct_iface_event_fd_get(agent.ifaces[0].iface, &fd),
                "uct_iface_event_fd_get");
    return fd;
}

/* As long as UCX has nothing to do. @return Did it sleep? */
static int agent_doze_once(double deadline)
{
    struct pollfd pfd  = {.fd = agent_event_fd(), .events = POLLIN};
    int           wait = (int)((deadline - utest_now()) * AGENT_MSEC);

    if (uct_iface_event_arm(agent.ifaces[0].iface,
                            UCT_EVENT_SEND_COMP | UCT_EVENT_RECV) != UCS_OK) {
        return 0;
    }

    (void)poll(&pfd, 1, (wait > 0) ? wait : 0);
    return 1;
}

void agent_doze(char *arguments)
{
    unsigned count    = (unsigned)atoi(strsep(&arguments, " "));
    double   deadline = utest_now() + atof(arguments);

    while ((agent.failed < count) && (utest_now() < deadline)) {
        (void)agent_doze_once(deadline);
        agent_progress();
    }
    printf("ok %u\n", agent.failed);
}

void agent_nap(char *arguments)
{
    unsigned long count    = strtoul(strsep(&arguments, " "), NULL, 0);
    double        deadline = utest_now() + atof(arguments);
    unsigned      sleeps   = 0;

    while ((agent.received < count) && (utest_now() < deadline)) {
        sleeps += agent_doze_once(deadline);
        agent_progress();
    }
    printf("ok %lu %u\n", (unsigned long)agent.received, sleeps);
}

void agent_exit(char *arguments)
{
    agent_answer(UCS_OK);
    fflush(stdout);
    _exit(EXIT_SUCCESS);
}

/* Whoever reads from us shall not wait for what lives on */
static void agent_leave_standard(void)
{
    int fd = open("/dev/null", O_RDWR);

    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

void agent_exec(char *arguments)
{
    agent_answer(UCS_OK);
    fflush(stdout);
    agent_leave_standard();
    execlp("sleep", "sleep", "infinity", NULL);
    _exit(EXIT_FAILURE);
}

void agent_fork(char *arguments)
{
    pid_t pid = fork();

    if (pid == 0) {
        agent_leave_standard();
        for (;;) {
            pause();
        }
    }
    printf("ok %d\n", (int)pid);
}
