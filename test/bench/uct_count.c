/*
 * A fixed number of short active messages, for counting instructions.
 *
 * usage: uct_count TRANSPORT DEVICE MESSAGES
 *
 * Two interfaces in one process, each with a worker of its own: a batch is
 * sent, then received. To be run under callgrind, which collects in
 * count_send() and count_receive() only: the difference between two runs with
 * different numbers of messages is what the messages cost, and no set-up.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#include "../functional/uct_common.h"

#define AM_ID 1
#define BATCH 16 /* fits in every transport's queue, so no send is refused */

static ucs_status_t
am_handler(void *arg, void *data, size_t length, unsigned flags)
{
    ++*(unsigned *)arg;
    return UCS_OK;
}

void count_send(uct_ep_h ep);
void count_receive(uct_worker_h worker, const volatile unsigned *received);

BENCH_COUNTED void count_send(uct_ep_h ep)
{
    ucs_status_t status = UCS_OK;
    unsigned     i;

    for (i = 0; i < BATCH; ++i) {
        status |= uct_ep_am_short(ep, AM_ID, i, NULL, 0);
    }
    utest_check(status, "uct_ep_am_short");
}

BENCH_COUNTED void
count_receive(uct_worker_h worker, const volatile unsigned *received)
{
    while (*received < BATCH) {
        uct_worker_progress(worker);
    }
}

/* The first message connects, which may need both sides' help. */
static void connection_wait(utest_iface_t *sender, utest_iface_t *receiver,
                            uct_ep_h ep, volatile unsigned *received)
{
    utest_check(utest_send(sender, ep, AM_ID, UTEST_SHORT, 0, NULL, 0,
                           utest_now() + 60),
                "the first message");
    while (*received == 0) {
        uct_worker_progress(sender->context->worker);
        uct_worker_progress(receiver->context->worker);
    }
}

int main(int argc, char **argv)
{
    static utest_context_t   context[2];
    static utest_iface_t     sender, receiver;
    static utest_address_t   address;
    static volatile unsigned received;
    unsigned                 count, i;
    uct_ep_h                 ep;

    if (argc != 4) {
        fprintf(stderr, "usage: uct_count TRANSPORT DEVICE MESSAGES\n");
        return EXIT_FAILURE;
    }

    count = atoi(argv[3]) / BATCH;
    for (i = 0; i < 2; ++i) {
        utest_context_open(&context[i], argv[1], argv[2]);
    }
    utest_iface_open(&sender, &context[0], NULL, NULL);
    utest_iface_open(&receiver, &context[1], NULL, NULL);
    utest_check(uct_iface_set_am_handler(receiver.iface, AM_ID, am_handler,
                                         (void *)&received, 0),
                "uct_iface_set_am_handler");
    utest_address_get(&receiver, &address);
    utest_check(utest_connect(&sender, &address, &ep), "uct_ep_create");
    connection_wait(&sender, &receiver, ep, &received);

    for (i = 0; i < count; ++i) {
        received = 0;
        count_send(ep);
        count_receive(context[1].worker, &received);
    }

    utest_check(utest_flush(&sender, ep, utest_now() + 60), "uct_ep_flush");
    uct_ep_destroy(ep);
    utest_iface_close(&sender);
    utest_iface_close(&receiver);
    utest_context_close(&context[1]);
    utest_context_close(&context[0]);
    printf("uct_count,%s,messages,%u\n", argv[1], count * BATCH);
    return 0;
}
