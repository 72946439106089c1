/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The ring between two threads, and between two processes.
 */

#include "test_util.h"

#include <uct/xshm/ring/nt_copy.h>
#include <uct/xshm/ring/ring.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>


#define STRESS_RING_SIZE    (2 * XSHM_ABI_RING_MIN_SIZE)
#define STRESS_NUM_MESSAGES 100000
#define STRESS_START_COUNT  (UINT32_MAX - 50000)


typedef struct stress {
    uint8_t           *data;
    const uint8_t     *rx_data; /* Read-only, in the consumer's process */
    xshm_abi_return_t *ret;
    uint64_t          *dirty;
    unsigned           num_messages;
    int                is_nt; /* Payload goes past the caches */
} stress_t;


/* Each message's length follows from its number; mostly short */
static uint32_t stress_size(unsigned number)
{
    xshm_test_random_t random = {number};
    uint32_t           max = (uint32_t)xshm_ring_max_payload(STRESS_RING_SIZE);
    uint32_t           limit = (number % 16) ? 200 : max + 1;

    return xshm_test_random_below(&random, limit);
}

static void stress_send(const stress_t *stress, xshm_ring_tx_t *tx,
                        xshm_abi_record_t record, void *payload, unsigned seed)
{
    uint32_t lines = xshm_ring_lines(record.size);
    uint8_t  data[STRESS_RING_SIZE];

    if (!stress->is_nt) {
        xshm_test_fill(payload, record.size, seed);
        xshm_ring_tx_commit(tx, lines, record);
        return;
    }

    xshm_test_fill(data, record.size, seed);
    xshm_nt_copy(payload, data, record.size);
    if (lines > 1) {
        xshm_ring_tx_commit_nt(tx, lines, record);
    } else {
        xshm_ring_tx_commit(tx, lines, record);
    }
}

static void stress_produce(stress_t *stress)
{
    xshm_abi_record_t record;
    xshm_ring_tx_t    tx;
    uint32_t          lines;
    void             *payload;
    unsigned          i;

    xshm_ring_tx_init(&tx, stress->data, STRESS_RING_SIZE, stress->dirty,
                      stress->ret);
    tx.produced = STRESS_START_COUNT;
    tx.consumed = STRESS_START_COUNT;
    for (i = 0; i < stress->num_messages; ++i) {
        record.word = 0;
        record.type = XSHM_RECORD_AM;
        record.id   = (uint8_t)i;
        record.size = stress_size(i);
        lines       = xshm_ring_lines(record.size);
        while (((payload = xshm_ring_tx_reserve(&tx, lines)) == NULL) &&
               ((payload = xshm_ring_tx_reserve_slow(&tx, lines)) == NULL)) {
            xshm_test_check(!tx.violation);
            sched_yield();
        }

        stress_send(stress, &tx, record, payload, i);
    }
    xshm_ring_tx_close(&tx);
}

static void stress_consume(stress_t *stress)
{
    unsigned          count = 0;
    xshm_abi_record_t record;
    xshm_ring_peek_t  found;
    xshm_ring_rx_t    rx;

    xshm_ring_rx_init(&rx, stress->rx_data, STRESS_RING_SIZE, stress->ret);
    rx.consumed   = STRESS_START_COUNT;
    rx.given_back = STRESS_START_COUNT;
    for (;;) {
        found = xshm_ring_rx_peek(&rx, &record);
        if (found == XSHM_RING_EMPTY) {
            sched_yield();
            continue;
        }

        xshm_test_check(found == XSHM_RING_RECORD);
        if (record.type == XSHM_RECORD_CLOSE) {
            break;
        }

        xshm_test_check(record.id == (uint8_t)count);
        xshm_test_check(record.size == stress_size(count));
        xshm_test_check(xshm_test_is_filled(xshm_ring_rx_payload(&rx),
                                            record.size, count));
        xshm_ring_rx_release_any(&rx, record.size);
        ++count;
    }
    xshm_test_check(count == stress->num_messages);
}

static void stress_init(stress_t *stress, int is_nt)
{
    size_t size = STRESS_RING_SIZE + XSHM_ABI_RETURN_SIZE;

    stress->is_nt        = is_nt;
    stress->num_messages = xshm_test_scale(STRESS_NUM_MESSAGES);
    stress->data         = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(stress->data, MAP_FAILED);
    stress->rx_data = stress->data;
    stress->ret     = (xshm_abi_return_t *)(stress->data + STRESS_RING_SIZE);
    stress->ret->consumed = STRESS_START_COUNT;
    stress->dirty         = calloc(1, xshm_ring_dirty_size(STRESS_RING_SIZE));
}

static void stress_cleanup(stress_t *stress)
{
    munmap(stress->data, STRESS_RING_SIZE + XSHM_ABI_RETURN_SIZE);
    free(stress->dirty);
}

static void *stress_thread(void *arg)
{
    stress_produce(arg);
    return NULL;
}

static void test_threads(int is_nt)
{
    pthread_t thread;
    stress_t  stress;

    stress_init(&stress, is_nt);
    assert_int_equal(pthread_create(&thread, NULL, stress_thread, &stress), 0);
    stress_consume(&stress);
    pthread_join(thread, NULL);
    stress_cleanup(&stress);
}

static void test_two_threads(void **state)
{
    test_threads(0);
}

static void test_two_threads_nt(void **state)
{
    test_threads(1);
}

static void stress_consumer_process(int fd, void *arg)
{
    stress_t *stress = arg;

    /* It must never write there */
    xshm_test_check(mprotect(stress->data, STRESS_RING_SIZE, PROT_READ) == 0);
    stress_consume(stress);
}

static void test_processes(int is_nt)
{
    xshm_test_peer_t peer;
    stress_t         stress;

    stress_init(&stress, is_nt);
    xshm_test_peer_start(&peer, stress_consumer_process, &stress);
    stress_produce(&stress);
    xshm_test_peer_join(&peer);
    stress_cleanup(&stress);
}

static void test_two_processes(void **state)
{
    test_processes(0);
}

static void test_two_processes_nt(void **state)
{
    test_processes(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_threads),
                                       cmocka_unit_test(test_two_threads_nt),
                                       cmocka_unit_test(test_two_processes),
                                       cmocka_unit_test(test_two_processes_nt)};

    return cmocka_run_group_tests_name("ring_stress", tests, NULL, NULL);
}
