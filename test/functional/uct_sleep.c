/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Processes that sleep whenever they have nothing to do: one in the middle, and
 * peers that send back what they get. The one in the middle has at most "window"
 * messages on the way to each peer; with a small ring and a large window both
 * sides also sleep until there is room. Random delays meet the moments between
 * the steps of falling asleep. Every message must come, in order, and nobody may
 * sleep while there is something for it: who is not woken within the watchdog's
 * time is a failure.
 *
 * usage: uct_sleep [options]
 *   -t NAME     transport [xshm]
 *   -d NAME     device [local]
 *   -p COUNT    peers [1]
 *   -w COUNT    window [1]
 *   -l BYTES    longest message [0]
 *   -r NSEC     longest random delay [2000]
 *   -n COUNT    times that the one in the middle sleeps [10000]
 *   -s SEED     of the random numbers [1]
 *   -q COUNT    calls of progress that the one in the middle makes without
 *               sleeping, once in 1000 sleeps [0]
 *   -b COUNT    nobody sleeps, for so many messages to each peer: where that
 *               begins and ends, all change to a folder that does not exist
 *   -f          before that (-b), all sleep for a while: so their peers look whether
 *               they are to be woken
 *   -k          messages are sent by uct_ep_am_bcopy()
 *   -e          end without closing anything
 *   -a SECONDS  the watchdog's time [30]
 *   -x ROLE     be one of two processes only, "middle" or "peer": the other one,
 *               of the same options, may be in another virtual machine. Each
 *               writes lines to its standard output that begin with "address" or
 *               "figures", to be handed to the other's standard input.
 *
 * Prints: messages, sleeps, wake-ups without work, and seconds of the one in the
 * middle and the sum of its peers' sleeps.
 */

#define _GNU_SOURCE

#include "uct_common.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PEERS    512
#define MAX_LENGTH   2048
#define AM_DATA      1
#define AM_STOP      2
#define POLL_EVERY   1000
#define SLEEP_FIRST  1000 /* messages */
#define BUSY_WARM_UP 1000
#define MAX_BURST    64 /* messages sent before progress gets its turn */

/* Lines between two processes */
#define ADDRESS         "address "
#define FIGURES         "figures "
#define LINE_MAX_LENGTH (UTEST_TEXT_MAX + 16)

#define RANDOM_A 6364136223846793005ull
#define RANDOM_B 1442695040888963407ull

typedef struct {
    const char *tl;
    const char *dev;
    unsigned    peers;
    unsigned    window;
    unsigned    max_length;
    unsigned    max_delay;
    uint64_t    sleeps;
    uint64_t    seed;
    uint64_t    polls;
    uint64_t    busy;
    int         sleep_first;
    int         use_bcopy;
    int         leave_open;
    double      watchdog;
    const char *role;
} options_t;

/** One direction pair with another process */
typedef struct {
    uct_ep_h          ep;
    FILE             *in; /**< Lines from it, and to it */
    FILE             *out;
    uint64_t          sent;
    uint64_t          received;
    int               is_blocked; /**< The request waits for room */
    int               is_stopped; /**< It has sent its last message */
    uct_pending_req_t req;
    pid_t             pid;
} peer_t;

/** What a peer reports at the end */
typedef struct {
    uint64_t sleeps;
    uint64_t idle_wakes;
    uint64_t messages;
} figures_t;

static struct {
    options_t       options;
    utest_context_t context;
    utest_iface_t   iface;
    int             epoll_fd;
    int             is_middle;
    peer_t          peers[MAX_PEERS];
    unsigned        num_peers;
    uint64_t        random;
    uint64_t        news; /**< Messages received, requests sent */
    figures_t       figures;
    uint8_t         payload[MAX_LENGTH];
} state;


static uint64_t random_below(uint64_t limit)
{
    state.random = state.random * RANDOM_A + RANDOM_B;
    return (limit == 0) ? 0 : (state.random >> 33) % limit;
}

static void random_delay(void)
{
    double end;

    if (state.options.max_delay == 0) {
        return;
    }

    end = utest_now() +
          (double)random_below(state.options.max_delay + 1ull) * 1e-9;
    while (utest_now() < end) {
    }
}

/* The header: whose message, and which one it is */
static uint64_t make_header(const peer_t *peer)
{
    return ((uint64_t)(peer - state.peers) << 48) | peer->sent;
}

static ucs_status_t
handle_data(void *arg, void *data, size_t length, unsigned flags)
{
    uint64_t header;
    peer_t  *peer;

    memcpy(&header, data, sizeof(header));
    /* A peer knows one process only, and sends back the number that it got */
    peer = &state.peers[state.is_middle ? (header >> 48) : 0];
    if ((header & 0xffffffffffffull) != peer->received) {
        utest_fail("message %lu came instead of %lu",
                   (unsigned long)(header & 0xffffffffffffull),
                   (unsigned long)peer->received);
    }

    if (!state.is_middle) {
        state.num_peers = (unsigned)(header >> 48); /* Our number */
    }
    ++peer->received;
    ++state.news;
    return UCS_OK;
}

static ucs_status_t
handle_stop(void *arg, void *data, size_t length, unsigned flags)
{
    state.peers[0].is_stopped = 1;
    ++state.news;
    return UCS_OK;
}

static ucs_status_t send_one(peer_t *peer)
{
    uint64_t     header = make_header(peer);
    ucs_status_t status;

    if (!state.is_middle) {
        header = ((uint64_t)state.num_peers << 48) | peer->sent;
    }

    status = utest_try_send(&state.iface, peer->ep, AM_DATA,
                            state.options.use_bcopy ? UTEST_BCOPY : UTEST_SHORT,
                            header, state.payload,
                            random_below(state.options.max_length + 1ull));
    if (status == UCS_OK) {
        ++peer->sent;
    } else if (status != UCS_ERR_NO_RESOURCE) {
        utest_check(status, "uct_ep_am_short");
    }
    return status;
}

static ucs_status_t handle_pending(uct_pending_req_t *req)
{
    peer_t      *peer   = (peer_t *)((char *)req - offsetof(peer_t, req));
    ucs_status_t status = send_one(peer);

    if (status == UCS_OK) {
        peer->is_blocked = 0;
        ++state.news;
    }
    return status;
}

static int may_send(const peer_t *peer)
{
    return !peer->is_blocked &&
           (peer->sent <
            peer->received + (state.is_middle ? state.options.window : 0));
}

static void send_burst(peer_t *peer)
{
    ucs_status_t status;
    unsigned     i;

    for (i = 0; (i < MAX_BURST) && may_send(peer); ++i) {
        if (send_one(peer) == UCS_OK) {
            continue;
        }

        peer->req.func = handle_pending;
        status         = uct_ep_pending_add(peer->ep, &peer->req, 0);
        if (status == UCS_OK) {
            peer->is_blocked = 1;
        } else if (status != UCS_ERR_BUSY) {
            utest_check(status, "uct_ep_pending_add");
        }
        return;
    }
}

/* Progress until there is nothing to do, then until it wakes */
static void sleep_once(void)
{
    struct epoll_event event;
    uint64_t           before;
    ucs_status_t       status;

    do {
        if (uct_worker_progress(state.context.worker)) {
            return;
        }

        random_delay();
        status = uct_iface_event_arm(state.iface.iface,
                                     UCT_EVENT_RECV | UCT_EVENT_SEND_COMP);
        if ((status != UCS_OK) && (status != UCS_ERR_BUSY)) {
            utest_check(status, "uct_iface_event_arm");
        }
    } while (status == UCS_ERR_BUSY);

    ++state.figures.sleeps;
    if (epoll_wait(state.epoll_fd, &event, 1,
                   (int)(state.options.watchdog * 1e3)) != 1) {
        before = state.news;
        uct_worker_progress(state.context.worker);
        utest_fail("%s: not woken for %g seconds, after %lu sleeps; there was "
                   "%s to do",
                   state.is_middle ? "middle" : "peer", state.options.watchdog,
                   (unsigned long)state.figures.sleeps,
                   (state.news == before) ? "nothing" : "something");
    }

    before = state.news;
    uct_worker_progress(state.context.worker);
    state.figures.idle_wakes += (state.news == before);
}

/* Seen by who traces the system calls of this thread */
static void mark(const char *text)
{
    (void)!chdir(text);
}

/* Only the window holds messages back, so there is no stop but at the end */
static int is_busy_over(const peer_t *peer)
{
    return peer->received >= state.options.busy;
}

/* Send what may be sent. @return Is there anything left to send at once? */
static int send_all(unsigned num_peers)
{
    int      is_ready = 0;
    unsigned i;

    for (i = 0; i < num_peers; ++i) {
        if (may_send(&state.peers[i])) {
            random_delay();
            send_burst(&state.peers[i]);
            is_ready |= may_send(&state.peers[i]);
        }
    }
    return is_ready;
}

/* Poll until all messages have come. The first ones connect, and are not a part
 * of it. */
static void run_busy(peer_t *peer)
{
    while (state.options.sleep_first && (peer->received < SLEEP_FIRST)) {
        if (!send_all(1)) {
            sleep_once();
        }
    }

    while (peer->received < SLEEP_FIRST + BUSY_WARM_UP) {
        (void)send_all(1);
        uct_worker_progress(state.context.worker);
    }

    mark("xshm-busy-begin");
    while (!is_busy_over(peer)) {
        (void)send_all(1);
        uct_worker_progress(state.context.worker);
    }
    mark("xshm-busy-end");
}

static void open_transport(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int                fd;

    utest_context_open(&state.context, state.options.tl, state.options.dev);
    utest_iface_open(&state.iface, &state.context, NULL, NULL);
    utest_check(uct_iface_set_am_handler(state.iface.iface, AM_DATA,
                                         handle_data, NULL, 0),
                "uct_iface_set_am_handler");
    utest_check(uct_iface_set_am_handler(state.iface.iface, AM_STOP,
                                         handle_stop, NULL, 0),
                "uct_iface_set_am_handler");
    uct_iface_progress_enable(state.iface.iface,
                              UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
    utest_check(uct_iface_event_fd_get(state.iface.iface, &fd),
                "uct_iface_event_fd_get");
    state.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(state.epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        utest_fail("epoll_ctl");
    }
}

/* The rest of the peer's next line, which has to be of this kind */
static void hear(peer_t *peer, const char *kind, char *text)
{
    size_t length = strlen(kind);

    if ((fgets(text, LINE_MAX_LENGTH, peer->in) == NULL) ||
        strncmp(text, kind, length)) {
        utest_fail("no %s from a peer", kind);
    }
    text[strcspn(text, "\n")] = '\0';
    memmove(text, text + length, strlen(text + length) + 1);
}

static void connect_peer(peer_t *peer)
{
    char            text[LINE_MAX_LENGTH];
    utest_address_t address;

    utest_address_get(&state.iface, &address);
    utest_address_print(&address, text);
    fprintf(peer->out, ADDRESS "%s\n", text);
    fflush(peer->out);
    hear(peer, ADDRESS, text);
    utest_address_parse(&address, text);
    utest_check(utest_connect(&state.iface, &address, &peer->ep), "connect");
}

static void close_transport(unsigned num_peers)
{
    unsigned i;

    if (state.options.leave_open) {
        return;
    }

    for (i = 0; i < num_peers; ++i) {
        uct_ep_destroy(state.peers[i].ep);
    }
    close(state.epoll_fd);
    utest_iface_close(&state.iface);
    utest_context_close(&state.context);
}

static void report(const peer_t *peer)
{
    fprintf(peer->out, FIGURES "%lu %lu %lu\n",
            (unsigned long)state.figures.sleeps,
            (unsigned long)state.figures.idle_wakes,
            (unsigned long)state.figures.messages);
    fflush(peer->out);
}

static void run_peer(peer_t *peer)
{
    state.random = state.options.seed * 2 + 1;
    open_transport();
    connect_peer(peer);
    if (state.options.busy > 0) {
        run_busy(peer);
    }
    while (!peer->is_stopped) {
        if (!send_all(1)) {
            sleep_once();
        }
    }

    state.figures.messages = peer->received;
    close_transport(1);
    report(peer);
    exit(EXIT_SUCCESS);
}

static void use_socket(peer_t *peer, int fd)
{
    peer->in  = fdopen(fd, "r");
    peer->out = fdopen(dup(fd), "w");
    if ((peer->in == NULL) || (peer->out == NULL)) {
        utest_fail("fdopen");
    }
}

static void fork_peer(peer_t *peer, unsigned number)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        utest_fail("socketpair");
    }

    state.options.seed += number;
    peer->pid = fork();
    if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        use_socket(&state.peers[0], fds[1]);
        run_peer(&state.peers[0]);
    }
    close(fds[1]);
    use_socket(peer, fds[0]);
}

static void start_peers(void)
{
    const char *role = state.options.role;
    unsigned    i;

    if (role == NULL) {
        for (i = 0; i < state.num_peers; ++i) {
            fork_peer(&state.peers[i], i + 1);
        }
        return;
    }

    state.peers[0].in  = stdin;
    state.peers[0].out = stdout;
    if (!strcmp(role, "peer")) {
        run_peer(&state.peers[0]);
    }
}

static int is_everything_back(void)
{
    unsigned i;

    for (i = 0; i < state.num_peers; ++i) {
        if (state.peers[i].is_blocked ||
            (state.peers[i].received != state.peers[i].sent)) {
            return 0;
        }
    }
    return 1;
}

/* Long enough for an interface to be one that polls */
static void poll_long(void)
{
    uint64_t i;

    for (i = 0; i < state.options.polls; ++i) {
        uct_worker_progress(state.context.worker);
    }
}

static void run_middle(void)
{
    if (state.options.busy > 0) {
        run_busy(&state.peers[0]);
        return;
    }

    while (state.figures.sleeps < state.options.sleeps) {
        if ((state.figures.sleeps % POLL_EVERY) == 0) {
            poll_long();
        }
        if (!send_all(state.num_peers)) {
            sleep_once();
        }
    }

    while (!is_everything_back()) {
        sleep_once();
    }
}

static void hear_figures(peer_t *peer, figures_t *figures)
{
    char          text[LINE_MAX_LENGTH];
    unsigned long sleeps, idle_wakes, messages;

    hear(peer, FIGURES, text);
    if (sscanf(text, "%lu %lu %lu", &sleeps, &idle_wakes, &messages) != 3) {
        utest_fail("a peer reports \"%s\"", text);
    }
    *figures = (figures_t){sleeps, idle_wakes, messages};
}

static void await_peer(const peer_t *peer)
{
    int status;

    if ((peer->pid != 0) &&
        ((waitpid(peer->pid, &status, 0) != peer->pid) || (status != 0))) {
        utest_fail("a peer has failed");
    }
}

static void stop_peer(peer_t *peer, figures_t *sum)
{
    figures_t figures;

    utest_check(utest_send(&state.iface, peer->ep, AM_STOP, UTEST_SHORT, 0,
                           NULL, 0, utest_now() + state.options.watchdog),
                "stop");
    utest_check(utest_flush(&state.iface, peer->ep,
                            utest_now() + state.options.watchdog),
                "flush");
    hear_figures(peer, &figures);
    if (figures.messages != peer->sent) {
        utest_fail("%lu of %lu messages", (unsigned long)figures.messages,
                   (unsigned long)peer->sent);
    }

    sum->sleeps += figures.sleeps;
    sum->idle_wakes += figures.idle_wakes;
    sum->messages += peer->sent + peer->received;
    await_peer(peer);
}

static void parse_options(int argc, char **argv)
{
    options_t *options = &state.options;
    int        c;

    *options = (options_t){.tl        = "xshm",
                           .dev       = "local",
                           .peers     = 1,
                           .window    = 1,
                           .max_delay = 2000,
                           .sleeps    = 10000,
                           .seed      = 1,
                           .watchdog  = 30};
    while ((c = getopt(argc, argv, "t:d:p:w:l:r:n:s:q:b:fkea:x:")) != -1) {
        switch (c) {
        case 't':
            options->tl = optarg;
            break;
        case 'd':
            options->dev = optarg;
            break;
        case 'p':
            options->peers = (unsigned)atoi(optarg);
            break;
        case 'w':
            options->window = (unsigned)atoi(optarg);
            break;
        case 'l':
            options->max_length = (unsigned)atoi(optarg);
            break;
        case 'r':
            options->max_delay = (unsigned)atoi(optarg);
            break;
        case 'n':
            options->sleeps = strtoull(optarg, NULL, 0);
            break;
        case 's':
            options->seed = strtoull(optarg, NULL, 0);
            break;
        case 'q':
            options->polls = strtoull(optarg, NULL, 0);
            break;
        case 'b':
            options->busy = strtoull(optarg, NULL, 0);
            break;
        case 'f':
            options->sleep_first = 1;
            break;
        case 'k':
            options->use_bcopy = 1;
            break;
        case 'e':
            options->leave_open = 1;
            break;
        case 'a':
            options->watchdog = atof(optarg);
            break;
        case 'x':
            options->role = optarg;
            break;
        default:
            utest_fail("unknown option");
        }
    }

    if ((options->peers > MAX_PEERS) || (options->max_length > MAX_LENGTH)) {
        utest_fail("too many peers, or too long");
    }
    if ((options->role != NULL) && (options->peers != 1)) {
        utest_fail("of two processes, each has one peer");
    }
}

int main(int argc, char **argv)
{
    figures_t sum = {0};
    double    start;
    unsigned  i;

    parse_options(argc, argv);
    state.num_peers = state.options.peers;
    start_peers();
    state.is_middle = 1;
    state.random    = state.options.seed;
    open_transport();
    for (i = 0; i < state.num_peers; ++i) {
        connect_peer(&state.peers[i]);
    }

    start = utest_now();
    run_middle();
    printf("seconds %.1f\n", utest_now() - start);
    for (i = 0; i < state.num_peers; ++i) {
        stop_peer(&state.peers[i], &sum);
    }
    printf("messages %lu\nsleeps %lu\nidle_wakes %lu\npeer_sleeps %lu\n"
           "peer_idle_wakes %lu\n",
           (unsigned long)sum.messages, (unsigned long)state.figures.sleeps,
           (unsigned long)state.figures.idle_wakes, (unsigned long)sum.sleeps,
           (unsigned long)sum.idle_wakes);
    close_transport(state.num_peers);
    return EXIT_SUCCESS;
}
