/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * uct_kill: a survivor whose peers are killed by SIGKILL at random moments.
 *
 *   uct_kill [options] survive            start victims, kill them, count
 *   uct_kill [options] victim ADDRESS NUMBER      started by the survivor
 *   uct_kill [options] companion ADDRESS NUMBER   started by the survivor
 *
 * Victims send to the survivor, or receive from it, or both. All the time the
 * survivor exchanges messages with a companion, who has to notice nothing. In
 * the end the survivor has no more descriptors, mappings and memory than it
 * had after the first victims.
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
#include <time.h>
#include <unistd.h>

#define KILL_ROUNDS    300
#define KILL_WARM_UP   40
#define KILL_MAX_LIFE  0.03 /* Seconds after its start or its first word */
#define KILL_MAX_START 10.0
#define KILL_PATIENCE  20.0 /* Seconds for what has to happen "soon" */
#define KILL_SETTLE    1.0
#define KILL_BURST     4
#define KILL_MAX_DATA  3000
#define KILL_COMPANION UINT64_MAX

/* What may have grown in the end. What a single peer takes is more than that
 * for each of them: several hundred leaks cannot hide. */
#define KILL_MORE_FDS      4
#define KILL_MORE_MAPS     8
#define KILL_MORE_SHARED   (256 * 1024L)
#define KILL_MORE_RESIDENT (2 * 1024 * 1024L)

enum {
    KILL_AM_HELLO = 1, /* Number of the sender, and its address */
    KILL_AM_DATA,      /* A seed, and data that follows from it */
    KILL_AM_PING,
    KILL_AM_PONG,
    KILL_AM_BYE
};

/* What a victim and the survivor do to each other */
enum {
    KILL_VICTIM_SENDS   = 1,
    KILL_SURVIVOR_SENDS = 2,
    KILL_BOTH_SEND      = 3,
    KILL_MODES          = 3
};

typedef struct {
    const char *program;
    const char *tl_name;
    const char *dev_name;
    int         rounds;
    int         warm_up;
    int         expect_errors;
    unsigned    seed;
} kill_options_t;

typedef struct {
    pid_t    pid;
    uint64_t number;
    int      said_hello;
    int      to_connect;
    int      failed;
    char     address[UTEST_TEXT_MAX];
    uct_ep_h ep;
} kill_peer_t;

typedef struct {
    long     fds;
    long     maps;
    uint64_t shared;
    uint64_t resident;
} kill_size_t;

typedef struct {
    const kill_options_t *options;
    utest_context_t       context;
    utest_iface_t         iface;
    kill_peer_t           victim;
    kill_peer_t           companion;
    uint64_t              pings;
    uint64_t              pongs;
    uint64_t              received;
    uint64_t              sent;
    int                   failures;
    int                   connected;
} kill_survivor_t;

/* What victim and companion know */
typedef struct {
    utest_context_t context;
    utest_iface_t   iface;
    uct_ep_h        ep;
    uint64_t        to_answer;
    int             bye;
} kill_child_t;

static int kill_mode(uint64_t number)
{
    return 1 + number % KILL_MODES;
}

static size_t kill_random_size(const utest_iface_t *iface, utest_mode_t mode)
{
    size_t max = utest_max_length(iface, mode);

    return random() % (((max < KILL_MAX_DATA) ? max : KILL_MAX_DATA) + 1);
}

static ucs_status_t kill_send_data(utest_iface_t *iface, uct_ep_h ep)
{
    utest_mode_t mode   = (random() % 2) ? UTEST_SHORT : UTEST_BCOPY;
    size_t       length = kill_random_size(iface, mode);
    uint64_t     seed   = random();
    char         data[KILL_MAX_DATA];

    utest_fill(data, length, seed);
    return utest_try_send(iface, ep, KILL_AM_DATA, mode, seed, data, length);
}

/* A message of a peer that was killed is there as a whole or not at all */
static void kill_check_data(void *data, size_t length)
{
    uint64_t seed;

    memcpy(&seed, data, sizeof(seed));
    if (!utest_is_filled((char *)data + sizeof(seed), length - sizeof(seed),
                         seed)) {
        utest_fail("a message of %zu bytes has wrong data", length);
    }
}

static ucs_status_t
kill_child_got_data(void *arg, void *data, size_t length, unsigned flags)
{
    kill_check_data(data, length);
    return UCS_OK;
}

static ucs_status_t
kill_child_got_ping(void *arg, void *data, size_t length, unsigned flags)
{
    kill_child_t *child = arg;

    ++child->to_answer;
    return UCS_OK;
}

static ucs_status_t
kill_child_got_bye(void *arg, void *data, size_t length, unsigned flags)
{
    kill_child_t *child = arg;

    child->bye = 1;
    return UCS_OK;
}

static ucs_status_t
kill_child_failed(void *arg, uct_ep_h ep, ucs_status_t status)
{
    utest_fail("the survivor is gone: %s", ucs_status_string(status));
}

static void kill_set_handler(utest_iface_t *iface, uint8_t id,
                             uct_am_callback_t callback, void *arg)
{
    utest_check(uct_iface_set_am_handler(iface->iface, id, callback, arg, 0),
                "uct_iface_set_am_handler");
}

static void kill_child_start(kill_child_t *child, const kill_options_t *options,
                             const char *survivor, const char *number)
{
    utest_address_t address;
    char            text[UTEST_TEXT_MAX];

    memset(child, 0, sizeof(*child));
    utest_context_open(&child->context, options->tl_name, options->dev_name);
    utest_iface_open(&child->iface, &child->context, kill_child_failed, NULL);
    kill_set_handler(&child->iface, KILL_AM_DATA, kill_child_got_data, NULL);
    kill_set_handler(&child->iface, KILL_AM_PING, kill_child_got_ping, child);
    kill_set_handler(&child->iface, KILL_AM_BYE, kill_child_got_bye, child);
    utest_address_parse(&address, survivor);
    utest_check(utest_connect(&child->iface, &address, &child->ep),
                "uct_ep_create");
    utest_address_get(&child->iface, &address);
    utest_address_print(&address, text);
    utest_check(utest_send(&child->iface, child->ep, KILL_AM_HELLO, UTEST_BCOPY,
                           strtoull(number, NULL, 0), text, strlen(text) + 1,
                           utest_now() + KILL_PATIENCE),
                "the first message");
}

static int kill_victim(const kill_options_t *options, const char *survivor,
                       const char *number)
{
    kill_child_t child;

    srandom(options->seed + getpid());
    kill_child_start(&child, options, survivor, number);
    while (!child.bye) {
        if (kill_mode(strtoull(number, NULL, 0)) & KILL_VICTIM_SENDS) {
            kill_send_data(&child.iface, child.ep);
        }
        uct_worker_progress(child.context.worker);
    }
    return EXIT_SUCCESS;
}

static int kill_companion(const kill_options_t *options, const char *survivor,
                          const char *number)
{
    kill_child_t child;
    ucs_status_t status;

    kill_child_start(&child, options, survivor, number);
    while (!child.bye) {
        if (child.to_answer > 0) {
            status = utest_try_send(&child.iface, child.ep, KILL_AM_PONG,
                                    UTEST_SHORT, 0, NULL, 0);
            child.to_answer -= (status == UCS_OK);
        }
        if (uct_worker_progress(child.context.worker) == 0) {
            sched_yield();
        }
    }
    utest_check(utest_flush(&child.iface, child.ep,
                            utest_now() + KILL_PATIENCE),
                "flush");
    uct_ep_destroy(child.ep);
    utest_iface_close(&child.iface);
    utest_context_close(&child.context);
    return EXIT_SUCCESS;
}

static ucs_status_t
kill_got_hello(void *arg, void *data, size_t length, unsigned flags)
{
    kill_survivor_t *survivor = arg;
    kill_peer_t     *peer;
    uint64_t         number;

    memcpy(&number, data, sizeof(number));
    peer = (number == KILL_COMPANION) ? &survivor->companion :
                                        &survivor->victim;
    if (number < peer->number) {
        return UCS_OK; /* The last words of a victim before this one */
    }
    if ((number > peer->number) ||
        (length - sizeof(number) > sizeof(peer->address))) {
        utest_fail("hello of %" PRIu64 ", not of %" PRIu64, number,
                   peer->number);
    }
    memcpy(peer->address, (char *)data + sizeof(number),
           length - sizeof(number));
    peer->said_hello = 1;
    peer->to_connect = 1;
    return UCS_OK;
}

static ucs_status_t
kill_got_data(void *arg, void *data, size_t length, unsigned flags)
{
    kill_survivor_t *survivor = arg;

    kill_check_data(data, length);
    ++survivor->received;
    return UCS_OK;
}

static ucs_status_t
kill_got_pong(void *arg, void *data, size_t length, unsigned flags)
{
    kill_survivor_t *survivor = arg;

    ++survivor->pongs;
    return UCS_OK;
}

static ucs_status_t kill_ep_failed(void *arg, uct_ep_h ep, ucs_status_t status)
{
    kill_survivor_t *survivor = arg;

    if (ep != survivor->victim.ep) {
        utest_fail("another endpoint than the victim's failed: %s",
                   ucs_status_string(status));
    }
    if (survivor->victim.failed) {
        utest_fail("the victim's endpoint failed twice");
    }
    survivor->victim.failed = 1;
    ++survivor->failures;
    return UCS_OK;
}

static void kill_start_peer(kill_survivor_t *survivor, kill_peer_t *peer,
                            const char *role, uint64_t number)
{
    const kill_options_t *options = survivor->options;
    utest_address_t       address;
    char                  text[UTEST_TEXT_MAX], seed[32], name[32];

    memset(peer, 0, sizeof(*peer));
    peer->number = number;
    utest_address_get(&survivor->iface, &address);
    utest_address_print(&address, text);
    snprintf(name, sizeof(name), "%" PRIu64, number);
    snprintf(seed, sizeof(seed), "%u", options->seed);
    peer->pid = fork();
    if (peer->pid < 0) {
        utest_fail("cannot fork");
    } else if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(options->program, options->program, "-t", options->tl_name, "-d",
              options->dev_name, "-s", seed, role, text, name, NULL);
        _exit(EXIT_FAILURE);
    }
}

static ucs_status_t
kill_connect_back(kill_survivor_t *survivor, kill_peer_t *peer)
{
    utest_address_t address;

    utest_address_parse(&address, peer->address);
    return utest_connect(&survivor->iface, &address, &peer->ep);
}

/* One message to the companion is always on its way */
static void kill_serve_companion(kill_survivor_t *survivor)
{
    kill_peer_t *companion = &survivor->companion;

    if (companion->to_connect) {
        companion->to_connect = 0;
        utest_check(kill_connect_back(survivor, companion),
                    "uct_ep_create to the companion");
    }
    if ((companion->ep != NULL) && (survivor->pings == survivor->pongs) &&
        (utest_try_send(&survivor->iface, companion->ep, KILL_AM_PING,
                        UTEST_SHORT, 0, NULL, 0) == UCS_OK)) {
        ++survivor->pings;
    }
}

static void kill_serve_victim(kill_survivor_t *survivor)
{
    kill_peer_t *victim = &survivor->victim;
    int          i;

    if (victim->to_connect) {
        /* To be refused is right, too, if it is dead already */
        victim->to_connect = 0;
        survivor->connected += kill_connect_back(survivor, victim) == UCS_OK;
    }
    for (i = 0; (i < KILL_BURST) && (victim->ep != NULL) && !victim->failed &&
                (kill_mode(victim->number) & KILL_SURVIVOR_SENDS);
         ++i) {
        survivor->sent +=
                (kill_send_data(&survivor->iface, victim->ep) == UCS_OK);
        uct_worker_progress(survivor->context.worker);
    }
}

static void kill_step(kill_survivor_t *survivor)
{
    if (uct_worker_progress(survivor->context.worker) == 0) {
        sched_yield();
    }
    kill_serve_companion(survivor);
    kill_serve_victim(survivor);
}

static void kill_live_for(kill_survivor_t *survivor, double seconds)
{
    double end = utest_now() + seconds;

    while (utest_now() < end) {
        kill_step(survivor);
    }
}

static void kill_wait_for_hello(kill_survivor_t *survivor, kill_peer_t *peer)
{
    double deadline = utest_now() + KILL_MAX_START;

    while (!peer->said_hello && (utest_now() < deadline)) {
        kill_step(survivor);
    }
    if (!peer->said_hello) {
        utest_fail("peer %" PRIu64 " was not heard of in %g s", peer->number,
                   KILL_MAX_START);
    }
}

/* Whoever has never sent to the victim has to ask, as UCP's keepalive does */
static void kill_wait_for_failure(kill_survivor_t *survivor)
{
    int    has_sent = kill_mode(survivor->victim.number) & KILL_SURVIVOR_SENDS;
    double start    = utest_now();

    while (!survivor->victim.failed && (utest_now() < start + KILL_PATIENCE)) {
        if (!has_sent) {
            uct_ep_check(survivor->victim.ep, 0, NULL);
        }
        kill_step(survivor);
    }
    if (!survivor->victim.failed) {
        utest_fail("round %" PRIu64 ": no error on the endpoint to the victim "
                   "in %g s",
                   survivor->victim.number, KILL_PATIENCE);
    }
}

static void kill_wait_for_companion(kill_survivor_t *survivor)
{
    double   deadline = utest_now() + KILL_PATIENCE;
    uint64_t before   = survivor->pongs;

    while ((survivor->pongs < before + 2) && (utest_now() < deadline)) {
        kill_step(survivor);
    }
    if (survivor->pongs < before + 2) {
        utest_fail("after victim %" PRIu64 " the companion answers no more",
                   survivor->victim.number);
    }
}

static void kill_round(kill_survivor_t *survivor, uint64_t number)
{
    kill_peer_t *victim = &survivor->victim;

    kill_start_peer(survivor, victim, "victim", number);
    if (random() % 4 != 0) {
        kill_wait_for_hello(survivor, victim);
    }
    kill_live_for(survivor, KILL_MAX_LIFE * random() / RAND_MAX);
    kill(victim->pid, SIGKILL);
    waitpid(victim->pid, NULL, 0);
    /* Its last words may make us connect only now */
    kill_wait_for_companion(survivor);
    if ((victim->ep != NULL) && survivor->options->expect_errors) {
        kill_wait_for_failure(survivor);
    }
    if (victim->ep != NULL) {
        uct_ep_destroy(victim->ep);
        victim->ep = NULL;
    }
    /* Whatever it still says comes too late */
    victim->number = number + 1;
}

static void kill_measure(kill_size_t *size)
{
    size->fds      = utest_count_fds();
    size->maps     = utest_count_maps(&size->shared);
    size->resident = utest_resident();
}

static void kill_print_size(const char *when, const kill_size_t *size)
{
    printf("NOTE %s: %ld descriptors, %ld mappings, %" PRIu64
           " KiB of them shared, %" PRIu64 " KiB resident\n",
           when, size->fds, size->maps, size->shared / 1024,
           size->resident / 1024);
    fflush(stdout);
}

static int kill_has_grown(const kill_size_t *before, const kill_size_t *after)
{
    return (after->fds > before->fds + KILL_MORE_FDS) ||
           (after->maps > before->maps + KILL_MORE_MAPS) ||
           (after->shared > before->shared + KILL_MORE_SHARED) ||
           (after->resident > before->resident + KILL_MORE_RESIDENT);
}

/* What belonged to the last victims goes soon, not at once */
static void
kill_check_growth(kill_survivor_t *survivor, const kill_size_t *before)
{
    double      deadline = utest_now() + KILL_PATIENCE;
    kill_size_t after;

    do {
        kill_live_for(survivor, KILL_SETTLE);
        kill_measure(&after);
    } while (kill_has_grown(before, &after) && (utest_now() < deadline));
    kill_print_size("in the end", &after);
    if (kill_has_grown(before, &after)) {
        utest_fail("the survivor has grown beyond %d descriptors, %d mappings,"
                   " %ld KiB shared, %ld KiB resident",
                   KILL_MORE_FDS, KILL_MORE_MAPS, KILL_MORE_SHARED / 1024,
                   KILL_MORE_RESIDENT / 1024);
    }
}

static void kill_dismiss_companion(kill_survivor_t *survivor)
{
    kill_peer_t *companion = &survivor->companion;
    int          status    = -1;

    utest_check(utest_send(&survivor->iface, companion->ep, KILL_AM_BYE,
                           UTEST_SHORT, 0, NULL, 0,
                           utest_now() + KILL_PATIENCE),
                "the last message");
    utest_check(utest_flush(&survivor->iface, companion->ep,
                            utest_now() + KILL_PATIENCE),
                "flush");
    uct_ep_destroy(companion->ep);
    waitpid(companion->pid, &status, 0);
    if (status != 0) {
        utest_fail("the companion ended with status 0x%x", status);
    }
}

static void
kill_survivor_open(kill_survivor_t *survivor, const kill_options_t *options)
{
    memset(survivor, 0, sizeof(*survivor));
    survivor->options = options;
    utest_context_open(&survivor->context, options->tl_name, options->dev_name);
    utest_iface_open(&survivor->iface, &survivor->context, kill_ep_failed,
                     survivor);
    kill_set_handler(&survivor->iface, KILL_AM_HELLO, kill_got_hello, survivor);
    kill_set_handler(&survivor->iface, KILL_AM_DATA, kill_got_data, survivor);
    kill_set_handler(&survivor->iface, KILL_AM_PONG, kill_got_pong, survivor);
}

static int kill_survive(const kill_options_t *options)
{
    kill_survivor_t survivor;
    kill_size_t     before;
    int             round;

    printf("NOTE seed %u\n", options->seed);
    fflush(stdout);
    srandom(options->seed);
    kill_survivor_open(&survivor, options);
    kill_start_peer(&survivor, &survivor.companion, "companion",
                    KILL_COMPANION);
    kill_wait_for_hello(&survivor, &survivor.companion);

    for (round = 0; round < options->warm_up; ++round) {
        kill_round(&survivor, round);
    }
    kill_live_for(&survivor, KILL_SETTLE);
    kill_measure(&before);
    kill_print_size("after the warm-up", &before);
    for (; round < options->warm_up + options->rounds; ++round) {
        kill_round(&survivor, round);
    }
    kill_check_growth(&survivor, &before);

    kill_dismiss_companion(&survivor);
    utest_iface_close(&survivor.iface);
    utest_context_close(&survivor.context);
    printf("NOTE %d victims killed, %d of them connected to, %d errors "
           "reported, %" PRIu64 " messages received, %" PRIu64 " sent, %" PRIu64
           " answers of the companion\n",
           round, survivor.connected, survivor.failures, survivor.received,
           survivor.sent, survivor.pongs);
    return EXIT_SUCCESS;
}

static int kill_usage(void)
{
    fprintf(stderr, "usage: uct_kill [-t transport] [-d device] [-n rounds] "
                    "[-w warm-up rounds] [-s seed]\n"
                    "                [-e: expect errors] survive\n");
    return EXIT_FAILURE;
}

static int kill_parse(kill_options_t *options, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "t:d:n:w:s:e")) != -1) {
        switch (c) {
        case 't':
            options->tl_name = optarg;
            break;
        case 'd':
            options->dev_name = optarg;
            break;
        case 'n':
            options->rounds = atoi(optarg);
            break;
        case 'w':
            options->warm_up = atoi(optarg);
            break;
        case 's':
            options->seed = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'e':
            options->expect_errors = 1;
            break;
        default:
            return 0;
        }
    }
    return optind < argc;
}

int main(int argc, char **argv)
{
    kill_options_t options = {.program  = "/proc/self/exe",
                              .tl_name  = "xshm",
                              .dev_name = "local",
                              .rounds   = KILL_ROUNDS,
                              .warm_up  = KILL_WARM_UP,
                              .seed     = (unsigned)time(NULL)};

    if (!kill_parse(&options, argc, argv)) {
        return kill_usage();
    }
    argv += optind;
    argc -= optind;
    if (!strcmp(argv[0], "survive")) {
        return kill_survive(&options);
    } else if (!strcmp(argv[0], "victim") && (argc == 3)) {
        return kill_victim(&options, argv[1], argv[2]);
    } else if (!strcmp(argv[0], "companion") && (argc == 3)) {
        return kill_companion(&options, argv[1], argv[2]);
    }
    return kill_usage();
}
