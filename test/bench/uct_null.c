/*
 * What UCT itself costs, with no transport behind it.
 *
 *   progress  uct_worker_progress() of a worker that has nothing to call
 *   idle      the same with an interface of "self": one call through UCX's
 *             tables, which finds nothing
 *   am_short  uct_ep_am_short() of 8 bytes on the transport "self", which
 *             calls the receiver's handler at once: the call, UCX's checks of
 *             its arguments, a copy, and the call of the handler
 * Prints one CSV line for each: the lowest decile of many blocks.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#include "../functional/uct_common.h"

#define BLOCKS     101
#define BLOCK_SIZE 10000
#define AM_ID      1

static ucs_status_t
am_handler(void *arg, void *data, size_t length, unsigned flags)
{
    ++*(uint64_t *)arg;
    return UCS_OK;
}

static void result_print(const char *name, double *times)
{
    printf("uct_null,%s,ns,%.2f\n", name, bench_undisturbed(times, BLOCKS));
}

static void progress_test(uct_worker_h worker)
{
    double   times[BLOCKS], start;
    unsigned block, i;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        for (i = 0; i < BLOCK_SIZE; ++i) {
            uct_worker_progress(worker);
            /* it is inlined: its loads must not leave the loop */
            __asm__ volatile("" : : : "memory");
        }
        times[block] = (bench_now() - start) / BLOCK_SIZE;
    }
    result_print("progress", times);
}

static void am_short_test(uct_ep_h ep, const uint64_t *received)
{
    uint64_t sent = 0;
    double   times[BLOCKS], start;
    unsigned block, i;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        for (i = 0; i < BLOCK_SIZE; ++i) {
            utest_check(uct_ep_am_short(ep, AM_ID, sent++, NULL, 0),
                        "uct_ep_am_short");
        }
        times[block] = (bench_now() - start) / BLOCK_SIZE;
    }
    if (*received != sent) {
        utest_fail("%lu messages were sent, %lu received", sent, *received);
    }
    result_print("am_short", times);
}

int main(int argc, char **argv)
{
    static utest_context_t context;
    static utest_iface_t   iface;
    static utest_address_t address;
    uint64_t               received = 0;
    int                    cpus[2];
    uct_ep_h               ep;

    bench_args(argc, argv, cpus);
    bench_pin(cpus[0]);
    utest_context_open(&context, "self", "memory0");
    progress_test(context.worker);
    utest_iface_open(&iface, &context, NULL, NULL);
    utest_check(uct_iface_set_am_handler(iface.iface, AM_ID, am_handler,
                                         &received, 0),
                "uct_iface_set_am_handler");
    utest_address_get(&iface, &address);
    utest_check(utest_connect(&iface, &address, &ep), "uct_ep_create");
    am_short_test(ep, &received);
    uct_ep_destroy(ep);
    utest_iface_close(&iface);
    utest_context_close(&context);
    return 0;
}
