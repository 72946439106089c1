/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * uct_peer: one peer of a conversation at UCT's level, for scripts.
 *
 *   uct_peer [options] listen           print the address, wait for the end of
 *                                       the standard input, never progress
 *   uct_peer [options] capabilities     print some of what UCX was told
 *   uct_peer [options] receive          print the address, receive messages
 *   uct_peer [options] reach ADDRESS    print "reachable 1" or "reachable 0"
 *   uct_peer [options] send ADDRESS     send messages, flush, disconnect
 */

#include "uct_common.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEER_AM_ID       3
#define PEER_MS          1e-3
#define PEER_EXIT_UNDONE 3 /* Messages were not delivered */

typedef struct {
    const char  *tl_name;
    const char  *dev_name;
    unsigned     count;
    size_t       size;
    utest_mode_t mode;
    double       delay; /* Seconds before the receiver's first progress */
    double       patience;
    int          no_flush;
} peer_options_t;

typedef struct {
    const peer_options_t *options;
    unsigned              received;
} peer_receiver_t;

static ucs_status_t
peer_received(void *arg, void *data, size_t length, unsigned flags)
{
    peer_receiver_t *receiver = arg;
    uint64_t         number;

    memcpy(&number, data, sizeof(number));
    if (number != receiver->received) {
        utest_fail("message %" PRIu64 " came as number %u", number,
                   receiver->received);
    }
    if ((length != sizeof(number) + receiver->options->size) ||
        !utest_is_filled((char *)data + sizeof(number), length - sizeof(number),
                         number)) {
        utest_fail("message %" PRIu64 " of %zu bytes has wrong data", number,
                   length);
    }
    ++receiver->received;
    return UCS_OK;
}

static void peer_print_address(utest_iface_t *iface)
{
    utest_address_t address;
    char            text[UTEST_TEXT_MAX];

    utest_address_get(iface, &address);
    utest_address_print(&address, text);
    printf("address %s\n", text);
    fflush(stdout);
}

static int peer_listen(utest_iface_t *iface)
{
    char buffer[64];

    peer_print_address(iface);
    while (read(STDIN_FILENO, buffer, sizeof(buffer)) > 0) {
    }
    return EXIT_SUCCESS;
}

static int peer_receive(utest_iface_t *iface, const peer_options_t *options)
{
    peer_receiver_t receiver = {options, 0};
    double          deadline;

    utest_check(uct_iface_set_am_handler(iface->iface, PEER_AM_ID,
                                         peer_received, &receiver, 0),
                "uct_iface_set_am_handler");
    peer_print_address(iface);
    usleep((useconds_t)(options->delay * 1e6));
    deadline = utest_now() + options->patience;
    while ((receiver.received < options->count) && (utest_now() < deadline)) {
        uct_worker_progress(iface->context->worker);
    }
    printf("received %u\n", receiver.received);
    return (receiver.received == options->count) ? EXIT_SUCCESS :
                                                   PEER_EXIT_UNDONE;
}

static int peer_reach(utest_iface_t *iface, const char *text)
{
    utest_address_t address;

    utest_address_parse(&address, text);
    printf("reachable %d\n", utest_is_reachable(iface, &address));
    return EXIT_SUCCESS;
}

static ucs_status_t
peer_send_all(utest_iface_t *iface, uct_ep_h ep, const peer_options_t *options)
{
    double       deadline = utest_now() + options->patience;
    ucs_status_t status   = UCS_OK;
    char        *data     = malloc(options->size + 1);
    unsigned     i;

    for (i = 0; (status == UCS_OK) && (i < options->count); ++i) {
        utest_fill(data, options->size, i);
        status = utest_send(iface, ep, PEER_AM_ID, options->mode, i, data,
                            options->size, deadline);
    }
    free(data);
    if ((status == UCS_OK) && !options->no_flush) {
        status = utest_flush(iface, ep, deadline);
    }
    return status;
}

static int
peer_send(utest_iface_t *iface, const peer_options_t *options, const char *text)
{
    utest_address_t address;
    ucs_status_t    status;
    uct_ep_h        ep;

    utest_address_parse(&address, text);
    status = utest_connect(iface, &address, &ep);
    if (status == UCS_OK) {
        status = peer_send_all(iface, ep, options);
        uct_ep_destroy(ep);
    }
    printf("sent: %s\n", ucs_status_string(status));
    return (status == UCS_OK) ? EXIT_SUCCESS : PEER_EXIT_UNDONE;
}

static ucs_status_t peer_failed(void *arg, uct_ep_h ep, ucs_status_t status)
{
    printf("endpoint failed: %s\n", ucs_status_string(status));
    fflush(stdout);
    return UCS_OK;
}

static utest_mode_t peer_mode(const char *name)
{
    if (!strcmp(name, "short")) {
        return UTEST_SHORT;
    } else if (!strcmp(name, "bcopy")) {
        return UTEST_BCOPY;
    } else if (!strcmp(name, "zcopy")) {
        return UTEST_ZCOPY;
    }
    utest_fail("\"%s\" is neither short, bcopy nor zcopy", name);
}

static int peer_capabilities(utest_iface_t *iface)
{
    const uct_iface_attr_t *attr = &iface->attr;
    uct_md_attr_t           md_attr;

    utest_check(uct_md_query(iface->context->md, &md_attr), "uct_md_query");
    if (attr->cap.event_flags & UCT_IFACE_FLAG_EVENT_RECV) {
        printf("wakeup\n");
    }
    if (attr->cap.flags & UCT_IFACE_FLAG_ERRHANDLE_PEER_FAILURE) {
        printf("errors\n");
    }
    if (attr->cap.flags & UCT_IFACE_FLAG_AM_ZCOPY) {
        printf("zcopy\n");
    }
    if (md_attr.cap.flags & UCT_MD_FLAG_REG) {
        printf("registration\n");
    }
    return EXIT_SUCCESS;
}

static int peer_usage(void)
{
    fprintf(stderr,
            "usage: uct_peer [-t transport] [-d device] [-n messages] "
            "[-s size]\n"
            "                [-m short|bcopy|zcopy] [-w ms before receiving] "
            "[-p patience in s]\n"
            "                [-F: no flush] listen|capabilities|receive|reach "
            "ADDRESS|send ADDRESS\n");
    return EXIT_FAILURE;
}

static int peer_command(utest_iface_t *iface, const peer_options_t *options,
                        const char *command, const char *address)
{
    if (!strcmp(command, "listen")) {
        return peer_listen(iface);
    } else if (!strcmp(command, "capabilities")) {
        return peer_capabilities(iface);
    } else if (!strcmp(command, "receive")) {
        return peer_receive(iface, options);
    } else if (!strcmp(command, "reach") && (address != NULL)) {
        return peer_reach(iface, address);
    } else if (!strcmp(command, "send") && (address != NULL)) {
        return peer_send(iface, options, address);
    }
    return peer_usage();
}

static int peer_parse(peer_options_t *options, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "t:d:n:s:m:w:p:F")) != -1) {
        switch (c) {
        case 't':
            options->tl_name = optarg;
            break;
        case 'd':
            options->dev_name = optarg;
            break;
        case 'n':
            options->count = (unsigned)atoi(optarg);
            break;
        case 's':
            options->size = strtoul(optarg, NULL, 0);
            break;
        case 'm':
            options->mode = peer_mode(optarg);
            break;
        case 'w':
            options->delay = atoi(optarg) * PEER_MS;
            break;
        case 'p':
            options->patience = atof(optarg);
            break;
        case 'F':
            options->no_flush = 1;
            break;
        default:
            return 0;
        }
    }
    return optind < argc;
}

int main(int argc, char **argv)
{
    peer_options_t  options = {.tl_name  = "xshm",
                               .dev_name = "local",
                               .count    = 1,
                               .size     = 8,
                               .mode     = UTEST_SHORT,
                               .patience = 20};
    utest_context_t context;
    utest_iface_t   iface;
    int             status;

    if (!peer_parse(&options, argc, argv)) {
        return peer_usage();
    }
    utest_context_open(&context, options.tl_name, options.dev_name);
    utest_iface_open(&iface, &context, peer_failed, NULL);
    status = peer_command(&iface, &options, argv[optind], argv[optind + 1]);
    fflush(stdout);
    utest_iface_close(&iface);
    utest_context_close(&context);
    return status;
}
