/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Put, get and atomic operations, directly and by message, through UCT's public
 * interface; and keys that are not what they should be.
 */

/* First, since it chooses what the C library's headers declare */
#include "uct_common.c"

#include "test_util.h"

/* To see which way data is packed */
#include <uct/xshm/base/iface.h>
#include <xshm/xshm_abi.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>


#define TEST_KIB            1024
#define TEST_PUT_WHILE_SIZE 1000
#define TEST_SIZE           (300 * TEST_KIB)
#define TEST_GUARD          64 /* Bytes around what is registered */
#define TEST_NUM_OPS        500
#define TEST_NUM_CYCLES     1000
#define TEST_CYCLE_SIZE     (64 * TEST_KIB)
#define TEST_MAX_IFACES     4
#define TEST_PART           1000
#define TEST_PATTERN        0x5a
#define TEST_STOPPED        0.5 /* Seconds */


/* Memory of a target, and the key by which others access it */
typedef struct test_memory {
    uct_allocated_memory_t mem; /* If allocated by the memory domain */
    uct_mem_h              memh;
    uint8_t               *base;
    size_t                 size;
    uint8_t                key[sizeof(xshm_abi_key_t)];
} test_memory_t;


/* Some interfaces of one worker, and an endpoint from each to each */
static struct {
    utest_context_t context;
    utest_iface_t   iface[TEST_MAX_IFACES];
    uct_ep_h        ep[TEST_MAX_IFACES][TEST_MAX_IFACES];
    unsigned        count;
} test;

/* How operations ended, and in which order */
typedef struct test_completion {
    uct_completion_t super;
    unsigned         order;
} test_completion_t;

static unsigned test_num_completed;


static void test_completed(uct_completion_t *super)
{
    ((test_completion_t *)super)->order = ++test_num_completed;
}

static void test_completion_init(test_completion_t *completion)
{
    completion->super.func   = test_completed;
    completion->super.count  = 1;
    completion->super.status = UCS_OK;
    completion->order        = 0;
}

static void test_open(unsigned count)
{
    utest_address_t address;
    unsigned        from, to;

    memset(&test, 0, sizeof(test));
    test.count         = count;
    test_num_completed = 0;
    utest_context_open(&test.context, "xshm", xshm_test_device);
    for (from = 0; from < count; ++from) {
        utest_iface_open(&test.iface[from], &test.context, NULL, NULL);
    }
    for (to = 0; to < count; ++to) {
        utest_address_get(&test.iface[to], &address);
        for (from = 0; from < count; ++from) {
            assert_int_equal(utest_connect(&test.iface[from], &address,
                                           &test.ep[from][to]),
                             UCS_OK);
        }
    }
}

static void test_close(void)
{
    unsigned from, to;

    for (from = 0; from < test.count; ++from) {
        for (to = 0; to < test.count; ++to) {
            uct_ep_destroy(test.ep[from][to]);
        }
    }
    for (from = 0; from < test.count; ++from) {
        utest_iface_close(&test.iface[from]);
    }
    utest_context_close(&test.context);
}

static void test_progress(void)
{
    uct_worker_progress(test.context.worker);
}

#define test_wait_for(_cond) \
    do { \
        double _end = utest_now() + XSHM_TEST_DEADLINE; \
        while (!(_cond)) { \
            assert_true(utest_now() < _end); \
            test_progress(); \
        } \
    } while (0)

/* Repeat an operation until there is room for it */
#define test_retry(_op) \
    ({ \
        double _last = utest_now() + XSHM_TEST_DEADLINE; \
        int    _result; \
        while ((_result = (int)(_op)) == UCS_ERR_NO_RESOURCE) { \
            assert_true(utest_now() < _last); \
            test_progress(); \
        } \
        _result; \
    })

static ucs_status_t test_flush(uct_ep_h ep)
{
    return utest_flush(&test.iface[0], ep, utest_now() + XSHM_TEST_DEADLINE);
}

static ucs_status_t test_flush_all(void)
{
    ucs_status_t status;

    test_wait_for((status = uct_iface_flush(test.iface[0].iface, 0, NULL)) !=
                  UCS_INPROGRESS);
    return status;
}

/* The same, after an operation that may have a completion */
static ucs_status_t test_finish(ucs_status_t status, test_completion_t *comp)
{
    if (status == UCS_INPROGRESS) {
        test_wait_for(comp->super.count == 0);
        return comp->super.status;
    }
    return status;
}

static void test_memory_pack(test_memory_t *memory)
{
    assert_int_equal(uct_md_mkey_pack(test.context.md, memory->memh,
                                      memory->key),
                     UCS_OK);
}

static void test_memory_alloc(test_memory_t *memory, size_t size)
{
    uct_alloc_method_t     method = UCT_ALLOC_METHOD_MD;
    uct_mem_alloc_params_t params = {.field_mask =
                                             UCT_MEM_ALLOC_PARAM_FIELD_FLAGS |
                                             UCT_MEM_ALLOC_PARAM_FIELD_MDS |
                                             UCT_MEM_ALLOC_PARAM_FIELD_MEM_TYPE,
                                     .flags    = UCT_MD_MEM_ACCESS_ALL,
                                     .mem_type = UCS_MEMORY_TYPE_HOST,
                                     .mds      = {.mds   = &test.context.md,
                                                  .count = 1}};

    assert_int_equal(uct_mem_alloc(size, &method, 1, &params, &memory->mem),
                     UCS_OK);
    memory->memh = memory->mem.memh;
    memory->base = memory->mem.address;
    memory->size = size;
    test_memory_pack(memory);
}

static void test_memory_reg(test_memory_t *memory, size_t size, unsigned flags)
{
    uint8_t *buffer = malloc(size + 2 * TEST_GUARD);

    memset(buffer, TEST_PATTERN, size + 2 * TEST_GUARD);
    memory->mem.method = UCT_ALLOC_METHOD_LAST;
    memory->base       = buffer + TEST_GUARD;
    memory->size       = size;
    assert_int_equal(uct_md_mem_reg(test.context.md, memory->base, size, flags,
                                    &memory->memh),
                     UCS_OK);
    test_memory_pack(memory);
}

static void test_memory_dereg(test_memory_t *memory)
{
    assert_int_equal(uct_md_mem_dereg(test.context.md, memory->memh), UCS_OK);
}

static void test_memory_check_guards(const test_memory_t *memory)
{
    unsigned i;

    for (i = 1; i <= TEST_GUARD; ++i) {
        assert_int_equal(memory->base[-(int)i], TEST_PATTERN);
        assert_int_equal(memory->base[memory->size + i - 1], TEST_PATTERN);
    }
}

static void test_memory_free(test_memory_t *memory)
{
    if (memory->mem.method == UCT_ALLOC_METHOD_LAST) {
        test_memory_check_guards(memory);
        test_memory_dereg(memory);
        free(memory->base - TEST_GUARD);
    } else {
        assert_int_equal(uct_mem_free(&memory->mem), UCS_OK);
    }
}

static uct_component_h test_component(void)
{
    static uct_component_h found;
    uct_component_attr_t   attr = {.field_mask = UCT_COMPONENT_ATTR_FIELD_NAME};
    uct_component_h       *components;
    unsigned               count, i;

    if (found == NULL) {
        assert_int_equal(uct_query_components(&components, &count), UCS_OK);
        for (i = 0; i < count; ++i) {
            assert_int_equal(uct_component_query(components[i], &attr), UCS_OK);
            if (!strcmp(attr.name, "xshm")) {
                found = components[i];
            }
        }
        uct_release_component_list(components);
    }
    return found;
}

static ucs_status_t test_unpack(const void *key, uct_rkey_bundle_t *bundle)
{
    return uct_rkey_unpack(test_component(), key, bundle);
}

static void test_release(uct_rkey_bundle_t *bundle)
{
    assert_int_equal(uct_rkey_release(test_component(), bundle), UCS_OK);
}

static uct_rkey_t
test_rkey(const test_memory_t *memory, uct_rkey_bundle_t *bundle)
{
    assert_int_equal(test_unpack(memory->key, bundle), UCS_OK);
    return bundle->rkey;
}

typedef struct test_pack {
    const void *data;
    size_t      length;
    int         is_bounced; /* Packed into the interface's buffer */
} test_pack_t;

static void *test_bounce(void)
{
    return ucs_derived_of(test.iface[0].iface, xshm_iface_t)->bounce;
}

static size_t test_pack_cb(void *dest, void *arg)
{
    test_pack_t *pack = arg;

    pack->is_bounced = (dest == test_bounce());
    memcpy(dest, pack->data, pack->length);
    return pack->length;
}

static void test_unpack_cb(void *arg, const void *data, size_t length)
{
    memcpy(arg, data, length);
}

static ucs_status_t test_put_short(const void *data, size_t length,
                                   uint64_t address, uct_rkey_t rkey)
{
    return test_retry(
            uct_ep_put_short(test.ep[0][1], data, length, address, rkey));
}

static ucs_status_t test_put_bcopy(const void *data, size_t length,
                                   uint64_t address, uct_rkey_t rkey)
{
    test_pack_t pack = {.data = data, .length = length};
    ssize_t     packed;

    packed = test_retry(uct_ep_put_bcopy(test.ep[0][1], test_pack_cb, &pack,
                                         address, rkey));
    return (packed < 0) ? (ucs_status_t)packed : UCS_OK;
}

static ucs_status_t test_put_zcopy(const void *data, size_t length,
                                   uint64_t address, uct_rkey_t rkey)
{
    test_completion_t completion;
    uct_iov_t         iov[UTEST_IOV_COUNT];

    test_completion_init(&completion);
    utest_iov_init(iov, data, length);
    return test_finish(test_retry(uct_ep_put_zcopy(test.ep[0][1], iov,
                                                   UTEST_IOV_COUNT, address,
                                                   rkey, &completion.super)),
                       &completion);
}

static ucs_status_t
test_get_bcopy(void *data, size_t length, uint64_t address, uct_rkey_t rkey)
{
    test_completion_t completion;

    test_completion_init(&completion);
    return test_finish(test_retry(uct_ep_get_bcopy(test.ep[0][1],
                                                   test_unpack_cb, data, length,
                                                   address, rkey,
                                                   &completion.super)),
                       &completion);
}

static ucs_status_t
test_get_zcopy(void *data, size_t length, uint64_t address, uct_rkey_t rkey)
{
    test_completion_t completion;
    uct_iov_t         iov[UTEST_IOV_COUNT];

    test_completion_init(&completion);
    utest_iov_init(iov, data, length);
    return test_finish(test_retry(uct_ep_get_zcopy(test.ep[0][1], iov,
                                                   UTEST_IOV_COUNT, address,
                                                   rkey, &completion.super)),
                       &completion);
}

typedef ucs_status_t (*test_put_func_t)(const void *data, size_t length,
                                        uint64_t address, uct_rkey_t rkey);
typedef ucs_status_t (*test_get_func_t)(void *data, size_t length,
                                        uint64_t address, uct_rkey_t rkey);

/* All sizes up to a limit, at an odd place, and what is around stays */
static void test_put_sizes(test_memory_t *memory, uct_rkey_t rkey,
                           test_put_func_t put, size_t max)
{
    static const size_t sizes[] = {0,    1,       7,      8,       24,   25,
                                   56,   88,      100,    1000,    4096, 8192,
                                   9000, 1 << 16, 262143, SIZE_MAX};
    uint8_t            *data    = malloc(TEST_SIZE);
    size_t              i, size, place;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(sizes); ++i) {
        size  = (sizes[i] < max) ? sizes[i] : max;
        place = 3 + (i % 5);
        utest_fill(data, size, i);
        memset(memory->base, TEST_PATTERN, memory->size);
        assert_int_equal(put(data, size, (uintptr_t)memory->base + place, rkey),
                         UCS_OK);
        assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
        assert_true(utest_is_filled(memory->base + place, size, i));
        assert_int_equal(memory->base[place - 1], TEST_PATTERN);
        assert_int_equal(memory->base[place + size], TEST_PATTERN);
    }
    free(data);
}

static void test_get_sizes(test_memory_t *memory, uct_rkey_t rkey,
                           test_get_func_t get, size_t max)
{
    static const size_t sizes[] = {0,    1,    8,       100,    1792,
                                   1793, 3584, 1 << 16, 262143, SIZE_MAX};
    uint8_t            *data    = malloc(TEST_SIZE + 1);
    size_t              i, size;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(sizes); ++i) {
        size = (sizes[i] < max) ? sizes[i] : max;
        utest_fill(memory->base + 5, size, i);
        memset(data, TEST_PATTERN, TEST_SIZE + 1);
        assert_int_equal(get(data, size, (uintptr_t)memory->base + 5, rkey),
                         UCS_OK);
        assert_true(utest_is_filled(data, size, i));
        assert_int_equal(data[size], TEST_PATTERN);
    }
    free(data);
}

static void test_transfers(test_memory_t *memory)
{
    const uct_iface_attr_t *attr = &test.iface[0].attr;
    uct_rkey_bundle_t       bundle;
    uct_rkey_t              rkey = test_rkey(memory, &bundle);
    size_t                  most = memory->size - 16;

    test_put_sizes(memory, rkey, test_put_short, attr->cap.put.max_short);
    test_put_sizes(memory, rkey, test_put_bcopy, attr->cap.put.max_bcopy);
    test_put_sizes(memory, rkey, test_put_zcopy, most);
    test_get_sizes(memory, rkey, test_get_bcopy, attr->cap.get.max_bcopy);
    test_get_sizes(memory, rkey, test_get_zcopy, most);
    test_release(&bundle);
}

/* Run a test on allocated memory, directly and by message, and on memory of our
 * own, which always goes by message */
static void test_both_ways(void (*run)(test_memory_t *memory))
{
    test_memory_t memory;
    unsigned      way;

    for (way = 0; way < 3; ++way) {
        setenv("UCX_XSHM_RMA", (way == 1) ? "message" : "auto", 1);
        test_open(2);
        if (way < 2) {
            test_memory_alloc(&memory, TEST_SIZE);
        } else {
            test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
        }
        run(&memory);
        test_memory_free(&memory);
        test_close();
    }
    unsetenv("UCX_XSHM_RMA");
}

/* UCX has no key where nothing was registered, and may still access nothing */
static void test_nothing_of(test_memory_t *memory)
{
    uct_rkey_bundle_t bundle;
    uint8_t           byte = TEST_PATTERN;
    uct_rkey_t        rkey;
    unsigned          i;

    (void)test_rkey(memory, &bundle);
    for (i = 0; i < 2; ++i) {
        rkey = (i == 0) ? UCT_INVALID_RKEY : bundle.rkey;
        assert_int_equal(test_put_short(&byte, 0, 0, rkey), UCS_OK);
        assert_int_equal(test_get_bcopy(&byte, 0, 0, rkey), UCS_OK);
        assert_int_equal(test_put_zcopy(&byte, 0, 0, rkey), UCS_OK);
        assert_int_equal(test_get_zcopy(&byte, 0, 0, rkey), UCS_OK);
    }
    assert_int_equal(test_put_bcopy(&byte, 0, 0, UCT_INVALID_RKEY), UCS_OK);
    assert_int_equal(test_put_bcopy(&byte, 0, (uintptr_t)memory->base,
                                    bundle.rkey),
                     UCS_OK);
    assert_int_equal(byte, TEST_PATTERN);
    test_release(&bundle);
}

static void test_nothing(void **state)
{
    test_both_ways(test_nothing_of);
}

static void test_all_sizes(void **state)
{
    unsigned past_caches;

    for (past_caches = 0; past_caches < 2; ++past_caches) {
        setenv("UCX_XSHM_NT_MIN", past_caches ? "0" : "inf", 1);
        test_both_ways(test_transfers);
    }
    unsetenv("UCX_XSHM_NT_MIN");
}

/* What is put by message is packed where it can be copied from past the caches, if
 * it may be long enough for that */
static void test_packed_past_caches(void **state)
{
    static const struct {
        const char *setting;
        int         is_bounced;
    } cases[]              = {{"0", 1}, {"4k", 1}, {"12k", 0}, {"inf", 0}};
    test_pack_t       pack = {.data = &cases, .length = sizeof(cases)};
    uct_rkey_bundle_t bundle;
    test_memory_t     memory;
    size_t            i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(cases); ++i) {
        setenv("UCX_XSHM_NT_MIN", cases[i].setting, 1);
        test_open(2);
        test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
        (void)test_rkey(&memory, &bundle);
        assert_int_equal(test_retry(uct_ep_put_bcopy(test.ep[0][1],
                                                     test_pack_cb, &pack,
                                                     (uintptr_t)memory.base,
                                                     bundle.rkey)),
                         pack.length);
        assert_int_equal(pack.is_bounced, cases[i].is_bounced);
        assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
        assert_memory_equal(memory.base, pack.data, pack.length);
        test_release(&bundle);
        test_memory_free(&memory);
        test_close();
    }
    unsetenv("UCX_XSHM_NT_MIN");
}

/* What a callback is given stays as it is while the callback puts something */
typedef struct test_put_while {
    uint8_t    data[TEST_PUT_WHILE_SIZE];
    uint64_t   address;
    uct_rkey_t rkey;
} test_put_while_t;

static void test_put_while_unpacking(void *arg, const void *data, size_t length)
{
    uint8_t           other[TEST_PUT_WHILE_SIZE] = {0};
    test_put_while_t *put                        = arg;
    test_pack_t       pack = {.data = other, .length = length};

    assert_int_equal(uct_ep_put_bcopy(test.ep[0][1], test_pack_cb, &pack,
                                      put->address, put->rkey),
                     length);
    memcpy(put->data, data, length);
}

static void test_unpack_puts(void **state)
{
    test_completion_t completion;
    uct_rkey_bundle_t bundle;
    test_memory_t     memory;
    test_put_while_t  put;

    setenv("UCX_XSHM_NT_MIN", "0", 1);
    test_open(2);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    put.rkey    = test_rkey(&memory, &bundle);
    put.address = (uintptr_t)memory.base + TEST_PUT_WHILE_SIZE;
    utest_fill(memory.base, TEST_PUT_WHILE_SIZE, 1);
    test_completion_init(&completion);
    assert_int_equal(
            test_finish(test_retry(uct_ep_get_bcopy(
                                test.ep[0][1], test_put_while_unpacking, &put,
                                TEST_PUT_WHILE_SIZE, (uintptr_t)memory.base,
                                put.rkey, &completion.super)),
                        &completion),
            UCS_OK);
    assert_true(utest_is_filled(put.data, TEST_PUT_WHILE_SIZE, 1));
    assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    test_release(&bundle);
    test_memory_free(&memory);
    test_close();
    unsetenv("UCX_XSHM_NT_MIN");
}

/* All that an operation does and returns, as one */
typedef ucs_status_t (*test_op_func_t)(uint64_t address, uct_rkey_t rkey);

#define TEST_WORD 8 /* Bytes, of all of these operations */

static const uint64_t test_word = 0x0101010101010101ul;

static ucs_status_t test_op_put_short(uint64_t address, uct_rkey_t rkey)
{
    return test_put_short(&test_word, TEST_WORD, address, rkey);
}

static ucs_status_t test_op_put_bcopy(uint64_t address, uct_rkey_t rkey)
{
    return test_put_bcopy(&test_word, TEST_WORD, address, rkey);
}

static ucs_status_t test_op_put_zcopy(uint64_t address, uct_rkey_t rkey)
{
    return test_put_zcopy(&test_word, TEST_WORD, address, rkey);
}

static ucs_status_t test_op_get_bcopy(uint64_t address, uct_rkey_t rkey)
{
    uint64_t word;

    return test_get_bcopy(&word, TEST_WORD, address, rkey);
}

static ucs_status_t test_op_get_zcopy(uint64_t address, uct_rkey_t rkey)
{
    uint64_t word;

    return test_get_zcopy(&word, TEST_WORD, address, rkey);
}

static ucs_status_t test_op_post(uint64_t address, uct_rkey_t rkey)
{
    return test_retry(uct_ep_atomic64_post(test.ep[0][1], UCT_ATOMIC_OP_ADD,
                                           test_word, address, rkey));
}

static ucs_status_t test_op_fetch(uint64_t address, uct_rkey_t rkey)
{
    test_completion_t completion;
    uint64_t          word;

    test_completion_init(&completion);
    return test_finish(test_retry(uct_ep_atomic64_fetch(
                               test.ep[0][1], UCT_ATOMIC_OP_SWAP, test_word,
                               &word, address, rkey, &completion.super)),
                       &completion);
}

static ucs_status_t test_op_cswap(uint64_t address, uct_rkey_t rkey)
{
    test_completion_t completion;
    uint64_t          word;

    test_completion_init(&completion);
    return test_finish(test_retry(uct_ep_atomic_cswap64(test.ep[0][1], 0,
                                                        test_word, address,
                                                        rkey, &word,
                                                        &completion.super)),
                       &completion);
}

static const struct {
    unsigned       right;
    test_op_func_t run;
} test_ops[] = {{XSHM_RIGHT_PUT, test_op_put_short},
                {XSHM_RIGHT_PUT, test_op_put_bcopy},
                {XSHM_RIGHT_PUT, test_op_put_zcopy},
                {XSHM_RIGHT_GET, test_op_get_bcopy},
                {XSHM_RIGHT_GET, test_op_get_zcopy},
                {XSHM_RIGHT_ATOMIC, test_op_post},
                {XSHM_RIGHT_ATOMIC, test_op_fetch},
                {XSHM_RIGHT_ATOMIC, test_op_cswap}};

/* The error may come at once, by the completion, or with the flush */
static ucs_status_t test_op_run(unsigned op, uint64_t address, uct_rkey_t rkey)
{
    ucs_status_t status  = test_ops[op].run(address, rkey);
    ucs_status_t flushed = test_flush(test.ep[0][1]);

    return (status == UCS_OK) ? flushed : status;
}

static int
test_memory_is_pattern(const test_memory_t *memory, size_t start, size_t end)
{
    for (; start < end; ++start) {
        if (memory->base[start] != TEST_PATTERN) {
            return 0;
        }
    }
    return 1;
}

/* All operations on the middle of the memory, of which that is a registration:
 * those that the rights allow, at its two ends and beyond */
static void
test_refused_by(test_memory_t *memory, unsigned flags, unsigned rights)
{
    test_memory_t     part = *memory;
    size_t            start, end;
    uct_rkey_bundle_t bundle;
    uct_rkey_t        rkey;
    unsigned          op;
    uint64_t          base;

    start     = ((memory->size / 4) & ~7ul) + (-(uintptr_t)memory->base & 7);
    part.base = memory->base + start;
    part.size = (memory->size / 2) & ~7ul;
    base      = (uintptr_t)part.base;
    end       = start + part.size;
    assert_int_equal(uct_md_mem_reg(test.context.md, part.base, part.size,
                                    flags, &part.memh),
                     UCS_OK);
    test_memory_pack(&part);
    rkey = test_rkey(&part, &bundle);
    memset(memory->base, TEST_PATTERN, memory->size);
    for (op = 0; op < XSHM_TEST_ARRAY_SIZE(test_ops); ++op) {
        assert_int_equal(test_op_run(op, base, rkey),
                         (rights & test_ops[op].right) ? UCS_OK :
                                                         UCS_ERR_REJECTED);
        assert_int_equal(test_op_run(op, base + part.size - TEST_WORD, rkey),
                         (rights & test_ops[op].right) ? UCS_OK :
                                                         UCS_ERR_REJECTED);
        assert_int_equal(test_op_run(op, base - TEST_WORD, rkey),
                         UCS_ERR_REJECTED);
        assert_int_equal(test_op_run(op, base + part.size, rkey),
                         UCS_ERR_REJECTED);
        assert_int_equal(test_op_run(op, -(uint64_t)TEST_WORD, rkey),
                         UCS_ERR_REJECTED);
        if (!(test_ops[op].right & XSHM_RIGHT_ATOMIC)) {
            assert_int_equal(test_op_run(op, base - 1, rkey), UCS_ERR_REJECTED);
            assert_int_equal(test_op_run(op, base + part.size - 1, rkey),
                             UCS_ERR_REJECTED);
        }
    }
    assert_true(test_memory_is_pattern(memory, 0, start));
    assert_true(test_memory_is_pattern(memory, end, memory->size));
    if (!(rights & (XSHM_RIGHT_PUT | XSHM_RIGHT_ATOMIC))) {
        assert_true(test_memory_is_pattern(memory, start, end));
    }
    test_release(&bundle);
    test_memory_dereg(&part);
}

static void test_refused(test_memory_t *memory)
{
    test_refused_by(memory, UCT_MD_MEM_ACCESS_ALL, XSHM_RIGHT_ALL);
    test_refused_by(memory, UCT_MD_MEM_ACCESS_REMOTE_PUT, XSHM_RIGHT_PUT);
    test_refused_by(memory, UCT_MD_MEM_ACCESS_REMOTE_GET, XSHM_RIGHT_GET);
    test_refused_by(memory, UCT_MD_MEM_ACCESS_REMOTE_ATOMIC, XSHM_RIGHT_ATOMIC);
    test_refused_by(memory, UCT_MD_MEM_ACCESS_LOCAL_READ, 0);
}

/* What the key does not say, in both ways */
static void test_all_refused(void **state)
{
    test_both_ways(test_refused);
}

static uint64_t test_expected(unsigned op, uint64_t a, uint64_t b)
{
    switch (op) {
    case UCT_ATOMIC_OP_ADD:
        return a + b;
    case UCT_ATOMIC_OP_AND:
        return a & b;
    case UCT_ATOMIC_OP_OR:
        return a | b;
    case UCT_ATOMIC_OP_XOR:
        return a ^ b;
    default:
        return b;
    }
}

/* One width: what comes next to it must stay */
#define TEST_DEFINE_ATOMICS(_bits) \
    static void test_atomics##_bits(test_memory_t *memory, uct_rkey_t rkey) \
    { \
        uint##_bits##_t  *word    = (uint##_bits##_t *)memory->base + 3; \
        uint64_t          address = (uintptr_t)word; \
        uint##_bits##_t   start   = (uint##_bits##_t)0x123456789abcdef0ul; \
        uint##_bits##_t   value   = (uint##_bits##_t)0xfedcba9876543211ul; \
        uint##_bits##_t   result, wanted; \
        test_completion_t completion; \
        uct_ep_h          ep = test.ep[0][1]; \
        unsigned          op; \
\
        memset(memory->base, TEST_PATTERN, 64); \
        for (op = UCT_ATOMIC_OP_ADD; op <= UCT_ATOMIC_OP_SWAP; ++op) { \
            wanted = (uint##_bits##_t)test_expected(op, start, value); \
            if (op != UCT_ATOMIC_OP_SWAP) { \
                *word = start; \
                assert_int_equal(test_retry(uct_ep_atomic##_bits##_post( \
                                         ep, op, value, address, rkey)), \
                                 UCS_OK); \
                assert_int_equal(test_flush(ep), UCS_OK); \
                assert_true(*word == wanted); \
            } \
            *word  = start; \
            result = 0; \
            test_completion_init(&completion); \
            assert_int_equal( \
                    test_finish(test_retry(uct_ep_atomic##_bits##_fetch( \
                                        ep, op, value, &result, address, rkey, \
                                        &completion.super)), \
                                &completion), \
                    UCS_OK); \
            assert_true((*word == wanted) && (result == start)); \
        } \
\
        for (op = 0; op < 2; ++op) { \
            *word  = start; \
            wanted = (op == 0) ? value : start; \
            test_completion_init(&completion); \
            assert_int_equal( \
                    test_finish(test_retry(uct_ep_atomic_cswap##_bits( \
                                        ep, start + op, value, address, rkey, \
                                        &result, &completion.super)), \
                                &completion), \
                    UCS_OK); \
            assert_true((*word == wanted) && (result == start)); \
        } \
\
        assert_int_equal(uct_ep_atomic##_bits##_post(ep, UCT_ATOMIC_OP_ADD, 1, \
                                                     address + 1, rkey), \
                         UCS_ERR_INVALID_ADDR); \
        assert_int_equal(*((uint8_t *)word - 1), TEST_PATTERN); \
        assert_int_equal(*(uint8_t *)(word + 1), TEST_PATTERN); \
    }

TEST_DEFINE_ATOMICS(32)
TEST_DEFINE_ATOMICS(64)

static void test_atomics(test_memory_t *memory)
{
    uct_rkey_bundle_t bundle;
    uct_rkey_t        rkey = test_rkey(memory, &bundle);

    test_atomics32(memory, rkey);
    test_atomics64(memory, rkey);
    test_release(&bundle);
}

static void test_all_atomics(void **state)
{
    test_both_ways(test_atomics);
}

/* Many operations under way, of different lengths: completed in order */
static void test_many(test_memory_t *memory)
{
    static test_completion_t completions[TEST_NUM_OPS];
    uct_rkey_bundle_t        bundle;
    uct_rkey_t               rkey = test_rkey(memory, &bundle);
    uint8_t                 *data = malloc(memory->size);
    uct_iov_t                iov  = {.count = 1};
    unsigned                 i, last = 0;

    utest_fill(memory->base, memory->size, 7);
    memset(data, 0, memory->size);
    for (i = 0; i < TEST_NUM_OPS; ++i) {
        test_completion_init(&completions[i]);
        iov.buffer = data + (i * 500);
        iov.length = 500;
        if (test_retry(uct_ep_get_zcopy(test.ep[0][1], &iov, 1,
                                        (uintptr_t)memory->base + (i * 500),
                                        rkey, &completions[i].super)) ==
            UCS_OK) {
            test_completed(&completions[i].super);
        }
    }
    assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    for (i = 0; i < TEST_NUM_OPS; ++i) {
        assert_true(completions[i].order > last);
        last = completions[i].order;
    }
    assert_memory_equal(data, memory->base, TEST_NUM_OPS * 500);
    free(data);
    test_release(&bundle);
}

static void test_many_in_order(void **state)
{
    test_both_ways(test_many);
}

typedef struct test_request {
    uct_pending_req_t super;
    uct_rkey_t        rkey;
    uint64_t          address;
    uint64_t          value;
} test_request_t;

static unsigned test_num_pending;

static ucs_status_t test_send_request(uct_pending_req_t *super)
{
    test_request_t *request = (test_request_t *)super;
    ucs_status_t    status;

    status = uct_ep_put_short(test.ep[0][1], &request->value,
                              sizeof(request->value), request->address,
                              request->rkey);
    if (status == UCS_OK) {
        --test_num_pending;
        free(request);
    }
    return status;
}

/* What finds no room waits, in its order, and a flush covers it */
static void test_pending_order(test_memory_t *memory)
{
    uct_rkey_bundle_t bundle;
    uct_rkey_t        rkey = test_rkey(memory, &bundle);
    test_request_t   *request;
    ucs_status_t      status;
    uint64_t          i;

    for (i = 1; i <= 20 * TEST_NUM_OPS; ++i) {
        request             = calloc(1, sizeof(*request));
        request->super.func = test_send_request;
        request->rkey       = rkey;
        request->address    = (uintptr_t)memory->base;
        request->value      = i;
        ++test_num_pending;
        do {
            status = test_send_request(&request->super);
        } while ((status == UCS_ERR_NO_RESOURCE) &&
                 (uct_ep_pending_add(test.ep[0][1], &request->super, 0) ==
                  UCS_ERR_BUSY));
    }
    test_wait_for(test_num_pending == 0);
    assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    assert_true(*(uint64_t *)memory->base == i - 1);
    test_release(&bundle);
}

static void test_pending(void **state)
{
    test_both_ways(test_pending_order);
}

/* The same memory by two keys: the second one names no region, so it goes by
 * message */
typedef struct test_mixed {
    test_memory_t     memory;
    uct_rkey_bundle_t direct;
    uct_rkey_bundle_t message;
    uint64_t         *words;
    int is_all; /* Fences are the interface's, else the endpoint's */
} test_mixed_t;

static void test_mixed_open(test_mixed_t *mixed)
{
    test_memory_t other;

    test_open(2);
    test_memory_alloc(&mixed->memory, TEST_SIZE);
    other                                 = mixed->memory;
    ((xshm_abi_key_t *)other.key)->region = 0;
    test_rkey(&mixed->memory, &mixed->direct);
    test_rkey(&other, &mixed->message);
    mixed->words = (uint64_t *)mixed->memory.base;
}

static void test_mixed_close(test_mixed_t *mixed)
{
    test_release(&mixed->message);
    test_release(&mixed->direct);
    test_memory_free(&mixed->memory);
    test_close();
}

static void test_mixed_fence(const test_mixed_t *mixed)
{
    assert_int_equal(mixed->is_all ? uct_iface_fence(test.iface[0].iface, 0) :
                                     uct_ep_fence(test.ep[0][1], 0),
                     UCS_OK);
}

static void test_mixed_put(uint64_t *word, uint64_t value, uct_rkey_t rkey)
{
    assert_int_equal(test_put_short(&value, sizeof(value), (uintptr_t)word,
                                    rkey),
                     UCS_OK);
}

/* The last one wins, whenever one looks */
static void test_mixed_puts(test_mixed_t *mixed)
{
    xshm_test_random_t random;
    uint64_t           i;

    xshm_test_random_init(&random);
    for (i = 1; i < 20 * TEST_NUM_OPS; ++i) {
        test_mixed_put(mixed->words, i,
                       xshm_test_random_below(&random, 3) ?
                               mixed->message.rkey :
                               mixed->direct.rkey);
        test_mixed_fence(mixed);
        if (xshm_test_random_below(&random, 50) == 0) {
            assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
            assert_true(mixed->words[0] == i);
        }
    }
    assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    assert_true(mixed->words[0] == i - 1);
}

/* A read or an atomic operation by message is under way when the next, which
 * could be done at once, comes: it does not see that */
static void test_mixed_results(test_mixed_t *mixed)
{
    uint64_t          address = (uintptr_t)mixed->words;
    uct_ep_h          ep      = test.ep[0][1];
    test_completion_t completion, other;
    uint64_t          i, got, before;

    for (i = 0; i < 2 * TEST_NUM_OPS; ++i) {
        mixed->words[0] = i;
        test_completion_init(&completion);
        assert_int_equal((i % 2) ? uct_ep_get_bcopy(ep, test_unpack_cb, &got,
                                                    sizeof(got), address,
                                                    mixed->message.rkey,
                                                    &completion.super) :
                                   uct_ep_atomic64_fetch(ep, UCT_ATOMIC_OP_ADD,
                                                         7, &got, address,
                                                         mixed->message.rkey,
                                                         &completion.super),
                         UCS_INPROGRESS);
        test_mixed_fence(mixed);
        test_completion_init(&other);
        assert_int_equal(test_finish(test_retry(uct_ep_atomic64_fetch(
                                             ep, UCT_ATOMIC_OP_SWAP, 1, &before,
                                             address, mixed->direct.rkey,
                                             &other.super)),
                                     &other),
                         UCS_OK);
        test_wait_for(completion.super.count == 0);
        assert_true(got == i);
        assert_true(before == ((i % 2) ? i : i + 7));

        /* What is written directly is seen by a read by message, too */
        test_mixed_put(mixed->words, i, mixed->direct.rkey);
        test_mixed_fence(mixed);
        assert_int_equal(test_get_bcopy(&got, sizeof(got), address,
                                        mixed->message.rkey),
                         UCS_OK);
        assert_true(got == i);
    }
}

static void test_mixed_with_fence(void **state)
{
    test_mixed_t mixed;

    for (mixed.is_all = 0; mixed.is_all < 2; ++mixed.is_all) {
        test_mixed_open(&mixed);
        test_mixed_puts(&mixed);
        test_mixed_results(&mixed);
        test_mixed_close(&mixed);
    }
}

/* Without fences there is no order, but a flush is for both */
static void test_mixed_with_flush(void **state)
{
    test_mixed_t mixed;
    uint64_t     round, i;

    test_mixed_open(&mixed);
    for (round = 1; round < TEST_NUM_OPS; ++round) {
        for (i = 0; i < 20; ++i) {
            test_mixed_put(&mixed.words[i], round + i,
                           ((i + round) % 3) ? mixed.direct.rkey :
                                               mixed.message.rkey);
        }
        assert_int_equal((round % 2) ? test_flush(test.ep[0][1]) :
                                       test_flush_all(),
                         UCS_OK);
        for (i = 0; i < 20; ++i) {
            assert_true(mixed.words[i] == round + i);
        }
    }
    test_mixed_close(&mixed);
}

static unsigned test_num_arrived;

/* The message comes after the put that was before the fence */
static ucs_status_t
test_after_fence(void *arg, void *data, size_t length, unsigned flags)
{
    test_memory_t *memory = arg;

    assert_int_equal(memory->base[memory->size - 1], 1);
    memory->base[memory->size - 1] = 0;
    ++test_num_arrived;
    return UCS_OK;
}

/* The put is longer than the ring, so its end is not sent yet when the message
 * is */
static void test_message_after_fence(test_memory_t *memory)
{
    uct_rkey_bundle_t bundle;
    uct_rkey_t        rkey = test_rkey(memory, &bundle);
    uint8_t          *data = malloc(memory->size);
    uct_iov_t         iov  = {.length = TEST_SIZE, .count = 1};
    test_completion_t completion;
    unsigned          i;

    test_num_arrived = 0;
    memory->size     = TEST_SIZE;
    assert_int_equal(uct_iface_set_am_handler(test.iface[1].iface, 1,
                                              test_after_fence, memory, 0),
                     UCS_OK);
    memset(data, 1, memory->size);
    iov.buffer = data;
    for (i = 1; i <= 10; ++i) {
        test_completion_init(&completion);
        (void)test_retry(uct_ep_put_zcopy(test.ep[0][1], &iov, 1,
                                          (uintptr_t)memory->base, rkey,
                                          &completion.super));
        if (i % 2) {
            assert_int_equal(uct_ep_fence(test.ep[0][1], 0), UCS_OK);
        } else {
            assert_int_equal(uct_iface_fence(test.iface[0].iface, 0), UCS_OK);
        }
        assert_int_equal(test_retry(
                                 uct_ep_am_short(test.ep[0][1], 1, i, NULL, 0)),
                         UCS_OK);
        test_wait_for(test_num_arrived == i);
        assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    }
    free(data);
    test_release(&bundle);
}

static void test_fence_orders_messages(void **state)
{
    test_both_ways(test_message_after_fence);
}

/* All of them read from all at once, through the smallest rings */
static void test_all_to_all(void **state)
{
    static test_completion_t completions[TEST_MAX_IFACES][TEST_MAX_IFACES];
    test_memory_t            memory[TEST_MAX_IFACES];
    uct_rkey_bundle_t        bundle[TEST_MAX_IFACES];
    uint8_t                 *data[TEST_MAX_IFACES][TEST_MAX_IFACES];
    uct_iov_t                iov = {.length = TEST_SIZE, .count = 1};
    unsigned                 from, to;

    setenv("UCX_XSHM_RING_SIZE", "4k", 1);
    test_open(TEST_MAX_IFACES);
    unsetenv("UCX_XSHM_RING_SIZE");
    for (to = 0; to < TEST_MAX_IFACES; ++to) {
        test_memory_reg(&memory[to], TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
        utest_fill(memory[to].base, TEST_SIZE, to);
        test_rkey(&memory[to], &bundle[to]);
    }
    for (from = 0; from < TEST_MAX_IFACES; ++from) {
        for (to = 0; to < TEST_MAX_IFACES; ++to) {
            data[from][to] = malloc(TEST_SIZE);
            iov.buffer     = data[from][to];
            test_completion_init(&completions[from][to]);
            assert_int_equal(uct_ep_get_zcopy(test.ep[from][to], &iov, 1,
                                              (uintptr_t)memory[to].base,
                                              bundle[to].rkey,
                                              &completions[from][to].super),
                             UCS_INPROGRESS);
        }
    }
    test_wait_for(test_num_completed == TEST_MAX_IFACES * TEST_MAX_IFACES);
    for (from = 0; from < TEST_MAX_IFACES; ++from) {
        for (to = 0; to < TEST_MAX_IFACES; ++to) {
            assert_int_equal(completions[from][to].super.status, UCS_OK);
            assert_memory_equal(data[from][to], memory[to].base, TEST_SIZE);
            free(data[from][to]);
        }
    }
    for (to = 0; to < TEST_MAX_IFACES; ++to) {
        test_release(&bundle[to]);
        test_memory_free(&memory[to]);
    }
    test_close();
}

/* Every bit of a key turned: nothing but what is registered is touched, and what
 * names another registration is refused */
static void test_hostile_keys(void **state)
{
    uint8_t           key[sizeof(xshm_abi_key_t)], data[TEST_GUARD / 2];
    test_memory_t     memory;
    uct_rkey_bundle_t bundle;
    ucs_status_t      status;
    unsigned          bit, byte;

    test_open(2);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    memset(data, 1, sizeof(data));
    for (bit = 0; bit < 8 * sizeof(key); ++bit) {
        byte = bit / 8;
        memcpy(key, memory.key, sizeof(key));
        key[byte] ^= (uint8_t)(1u << (bit % 8));
        if (test_unpack(key, &bundle) != UCS_OK) {
            continue;
        }

        /* Inside: only with the right name. In front of it and behind: never,
         * even if this process is told that it may */
        status = test_put_short(data, sizeof(data), (uintptr_t)memory.base,
                                bundle.rkey);
        status = (status == UCS_OK) ? test_flush(test.ep[0][1]) : status;
        if (((byte >= offsetof(xshm_abi_key_t, id)) &&
             (byte < offsetof(xshm_abi_key_t, base))) ||
            ((byte >= offsetof(xshm_abi_key_t, slot)) &&
             (byte < offsetof(xshm_abi_key_t, slot) + 4))) {
            assert_int_equal(status, UCS_ERR_REJECTED);
        }

        (void)test_put_short(data, sizeof(data),
                             (uintptr_t)memory.base - sizeof(data),
                             bundle.rkey);
        (void)test_flush(test.ep[0][1]);
        (void)test_put_short(data, sizeof(data),
                             (uintptr_t)memory.base + memory.size -
                                     sizeof(data) + 1,
                             bundle.rkey);
        (void)test_flush(test.ep[0][1]);
        test_memory_check_guards(&memory);
        test_release(&bundle);
    }
    test_memory_free(&memory);
    test_close();
}

/* A key says that everything is allowed, and the whole address space */
static void test_rights(void **state)
{
    static const unsigned flags[] = {UCT_MD_MEM_ACCESS_REMOTE_PUT,
                                     UCT_MD_MEM_ACCESS_REMOTE_GET,
                                     UCT_MD_MEM_ACCESS_REMOTE_ATOMIC,
                                     UCT_MD_MEM_ACCESS_LOCAL_READ};
    test_memory_t         memory;
    uct_rkey_bundle_t     bundle;
    xshm_abi_key_t        key;
    uint64_t              word = 1, address;
    unsigned              i;

    test_open(2);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(flags); ++i) {
        test_memory_reg(&memory, TEST_SIZE, flags[i]);
        memcpy(&key, memory.key, sizeof(key));
        key.rights = XSHM_RIGHT_ALL;
        key.base   = 0;
        key.length = UINT64_MAX;
        address    = ((uintptr_t)memory.base + 7) & ~7ul;
        assert_int_equal(test_unpack(&key, &bundle), UCS_OK);

        assert_int_equal(test_put_zcopy(&word, sizeof(word), address,
                                        bundle.rkey),
                         (i == 0) ? UCS_OK : UCS_ERR_REJECTED);
        assert_int_equal(test_get_bcopy(&word, sizeof(word), address,
                                        bundle.rkey),
                         (i == 1) ? UCS_OK : UCS_ERR_REJECTED);
        assert_int_equal(test_retry(uct_ep_atomic64_post(test.ep[0][1],
                                                         UCT_ATOMIC_OP_ADD, 1,
                                                         address, bundle.rkey)),
                         UCS_OK);
        assert_int_equal(test_flush(test.ep[0][1]),
                         (i == 2) ? UCS_OK : UCS_ERR_REJECTED);
        /* Told once */
        assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);

        assert_int_equal(test_put_zcopy(&word, sizeof(word),
                                        (uintptr_t)memory.base - 8,
                                        bundle.rkey),
                         UCS_ERR_REJECTED);
        assert_int_equal(test_put_zcopy(&word, sizeof(word), UINT64_MAX - 8,
                                        bundle.rkey),
                         UCS_ERR_REJECTED);
        test_release(&bundle);
        test_memory_free(&memory);
    }
    test_close();
}

/* The key of what has ended is refused, also when its place is another's */
static void test_stale_key(void **state)
{
    test_memory_t     memory, next;
    uct_rkey_bundle_t bundle, next_bundle;
    uint64_t          word = 1;
    uint64_t          address;

    test_open(2);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    address = (uintptr_t)memory.base;
    test_rkey(&memory, &bundle);
    assert_int_equal(test_put_zcopy(&word, sizeof(word), address, bundle.rkey),
                     UCS_OK);
    test_memory_dereg(&memory);
    assert_int_equal(test_put_zcopy(&word, sizeof(word), address, bundle.rkey),
                     UCS_ERR_REJECTED);

    next = memory;
    assert_int_equal(uct_md_mem_reg(test.context.md, next.base, next.size,
                                    UCT_MD_MEM_ACCESS_ALL, &next.memh),
                     UCS_OK);
    test_memory_pack(&next);
    assert_int_equal(((xshm_abi_key_t *)next.key)->slot,
                     ((xshm_abi_key_t *)memory.key)->slot);
    assert_int_equal(test_put_zcopy(&word, sizeof(word), address, bundle.rkey),
                     UCS_ERR_REJECTED);
    test_rkey(&next, &next_bundle);
    assert_int_equal(test_put_zcopy(&word, sizeof(word), address,
                                    next_bundle.rkey),
                     UCS_OK);
    test_release(&next_bundle);
    test_release(&bundle);
    test_memory_free(&next);
    test_close();
}

/* More than the return page can name: all of them are reported */
static void test_many_refused(void **state)
{
    static test_completion_t completions[TEST_NUM_OPS];
    test_memory_t            memory;
    uct_rkey_bundle_t        bundle;
    uct_iov_t                iov  = {.length = 8, .count = 1};
    uint64_t                 word = 1;
    unsigned                 i;

    test_open(2);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_rkey(&memory, &bundle);
    test_memory_dereg(&memory);
    iov.buffer = &word;
    for (i = 0; i < TEST_NUM_OPS; ++i) {
        test_completion_init(&completions[i]);
        assert_int_equal(test_retry(uct_ep_put_zcopy(test.ep[0][1], &iov, 1,
                                                     (uintptr_t)memory.base,
                                                     bundle.rkey,
                                                     &completions[i].super)),
                         UCS_INPROGRESS);
    }
    assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    for (i = 0; i < TEST_NUM_OPS; ++i) {
        assert_int_equal(completions[i].super.count, 0);
        assert_int_equal(completions[i].super.status, UCS_ERR_REJECTED);
    }
    test_release(&bundle);
    free(memory.base - TEST_GUARD);
    test_close();
}

/* What has no completion, and is refused, is told by a flush of the endpoint, and
 * by one of all; by each once, whichever comes first */
static void test_refused_flush(void **state)
{
    test_memory_t     memory;
    uct_rkey_bundle_t bundle;
    unsigned          i;

    test_open(2);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_rkey(&memory, &bundle);
    test_memory_dereg(&memory);
    for (i = 0; i < 4; ++i) {
        assert_int_equal((i < 2) ? test_op_put_short((uintptr_t)memory.base,
                                                     bundle.rkey) :
                                   test_op_post((uintptr_t)memory.base & ~7ul,
                                                bundle.rkey),
                         UCS_OK);
        if (i % 2) {
            assert_int_equal(test_flush(test.ep[0][1]), UCS_ERR_REJECTED);
            assert_int_equal(test_flush_all(), UCS_ERR_REJECTED);
        } else {
            assert_int_equal(test_flush_all(), UCS_ERR_REJECTED);
            assert_int_equal(test_flush(test.ep[0][1]), UCS_ERR_REJECTED);
        }
        assert_int_equal(test_flush_all(), UCS_OK);
        assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    }

    /* A completion tells it, and nobody else */
    assert_int_equal(test_op_put_zcopy((uintptr_t)memory.base, bundle.rkey),
                     UCS_ERR_REJECTED);
    assert_int_equal(test_flush_all(), UCS_OK);
    test_release(&bundle);
    free(memory.base - TEST_GUARD);
    test_close();
}

/* A pointer exists only where something is mapped */
static void test_rkey_ptr(void **state)
{
    test_memory_t     memory, other;
    uct_rkey_bundle_t bundle, other_bundle;
    uint64_t          word = 9;
    void             *ptr;

    test_open(2);
    test_memory_alloc(&memory, TEST_SIZE);
    test_memory_reg(&other, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_rkey(&memory, &bundle);
    test_rkey(&other, &other_bundle);
    assert_int_equal(uct_rkey_ptr(test_component(), &other_bundle,
                                  (uintptr_t)other.base, &ptr),
                     UCS_ERR_UNREACHABLE);
    assert_int_equal(uct_rkey_ptr(test_component(), &bundle,
                                  (uintptr_t)memory.base, &ptr),
                     UCS_ERR_UNREACHABLE);
    assert_int_equal(test_put_short(&word, sizeof(word), (uintptr_t)memory.base,
                                    bundle.rkey),
                     UCS_OK);
    assert_int_equal(uct_rkey_ptr(test_component(), &bundle,
                                  (uintptr_t)memory.base, &ptr),
                     UCS_OK);
    assert_true(*(uint64_t *)ptr == word);
    assert_int_equal(uct_rkey_ptr(test_component(), &bundle, 0, &ptr),
                     UCS_ERR_INVALID_ADDR);
    test_release(&other_bundle);
    test_release(&bundle);
    test_memory_free(&other);
    test_memory_free(&memory);
    test_close();
}

/* What an interface writes when it is closed, of itself only */
static void test_close_and_read(char *text, size_t max)
{
    int     fds[2], saved = dup(STDERR_FILENO);
    ssize_t length;

    assert_int_equal(pipe(fds), 0);
    fflush(stderr);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    test_close();
    fflush(stderr);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    close(fds[1]);
    length = read(fds[0], text, max - 1);
    close(fds[0]);
    assert_true(length >= 0);
    text[length] = '\0';
}

/* Which way operations have gone is counted, for users */
static void test_counters(void **state)
{
    static char       text[16 * TEST_KIB];
    test_memory_t     allocated, other;
    uct_rkey_bundle_t direct, message;
    uint64_t          word = 1;
    unsigned          i;

    setenv("UCX_XSHM_STATS", "y", 1);
    test_open(2);
    unsetenv("UCX_XSHM_STATS");
    test_memory_alloc(&allocated, TEST_SIZE);
    test_memory_reg(&other, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_rkey(&allocated, &direct);
    test_rkey(&other, &message);
    for (i = 0; i < 7; ++i) {
        assert_int_equal(test_put_short(&word, sizeof(word),
                                        (uintptr_t)allocated.base, direct.rkey),
                         UCS_OK);
    }
    for (i = 0; i < 5; ++i) {
        assert_int_equal(test_get_bcopy(&word, sizeof(word),
                                        (uintptr_t)other.base, message.rkey),
                         UCS_OK);
    }
    test_release(&message);
    test_release(&direct);
    test_memory_free(&other);
    test_memory_free(&allocated);
    test_close_and_read(text, sizeof(text));
    assert_non_null(strstr(text, " rma_direct=7 rma_message=5 "
                                 "refused_allocations=0\n"));
    assert_non_null(strstr(text, " rma_direct=0 rma_message=0 "));
}

/* Who gives away another one's interface as its own, on another device, does not
 * get what is sent to that */
static void test_same_interface_elsewhere(void **state)
{
    static char     text[16 * TEST_KIB];
    utest_address_t address;
    uct_ep_params_t params = {.field_mask = UCT_EP_PARAM_FIELD_IFACE |
                                            UCT_EP_PARAM_FIELD_DEV_ADDR |
                                            UCT_EP_PARAM_FIELD_IFACE_ADDR};
    uct_ep_h        ep;

    setenv("UCX_XSHM_STATS", "y", 1);
    test_open(1);
    unsetenv("UCX_XSHM_STATS");
    utest_address_get(&test.iface[0], &address);
    address.device[0] ^= 1;
    params.iface      = test.iface[0].iface;
    params.dev_addr   = (void *)address.device;
    params.iface_addr = (void *)address.iface;
    assert_int_equal(uct_ep_create(&params, &ep), UCS_OK);
    uct_ep_destroy(ep);
    test_close_and_read(text, sizeof(text));
    assert_non_null(strstr(text, " 2 ended channels:"));
}

/* With a changed owner, and grantee, since this is the owner's machine */
static ucs_status_t
test_unpack_of(const test_memory_t *memory, uint16_t owner, uint16_t granted)
{
    uct_rkey_bundle_t bundle;
    ucs_status_t      status;
    xshm_abi_key_t    key;

    memcpy(&key, memory->key, sizeof(key));
    key.owner   = owner;
    key.granted = granted;
    status      = uct_rkey_unpack(test_component(), &key, &bundle);
    if (status == UCS_OK) {
        test_release(&bundle);
    }

    return status;
}

/* UCP hides errors where it can do without the key. Then the key is of use only
 * to who can map the memory. */
static void test_hint_of_keys(void **state)
{
    unsigned      hide = UCT_MD_MEM_ACCESS_ALL | UCT_MD_MEM_FLAG_HIDE_ERRORS;
    test_memory_t region, part, other;

    test_open(1);
    test_memory_alloc(&region, TEST_SIZE);
    part = region;
    assert_int_equal(uct_md_mem_reg(test.context.md, region.base, TEST_SIZE,
                                    hide, &part.memh),
                     UCS_OK);
    test_memory_pack(&part);
    test_memory_reg(&other, TEST_SIZE, hide);

    assert_int_equal(test_unpack_of(&part, XSHM_ABI_NO_DOMAIN,
                                    XSHM_ABI_NO_DOMAIN),
                     UCS_OK);
    assert_int_equal(test_unpack_of(&part, 5, XSHM_ABI_NO_DOMAIN),
                     UCS_ERR_UNREACHABLE);
    assert_int_equal(test_unpack_of(&part, 5, 6), UCS_ERR_UNREACHABLE);
    assert_int_equal(test_unpack_of(&other, XSHM_ABI_NO_DOMAIN,
                                    XSHM_ABI_NO_DOMAIN),
                     UCS_ERR_UNREACHABLE);
    /* Users' keys always are of use, by message if not directly */
    assert_int_equal(test_unpack_of(&region, 5, 6), UCS_OK);

    test_memory_dereg(&part);
    test_memory_free(&other);
    test_memory_free(&region);
    test_close();
}

/* An endpoint that is destroyed cancels what is under way */
static void test_destroy_cancels(void **state)
{
    static test_completion_t completions[8];
    test_memory_t            memory;
    uct_rkey_bundle_t        bundle;
    uint8_t                 *data = malloc(TEST_SIZE);
    uct_iov_t                iov  = {.length = TEST_SIZE, .count = 1};
    ucs_status_t             status;
    unsigned                 i, num_sent = 0;

    test_open(2);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_rkey(&memory, &bundle);
    iov.buffer = data;
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(completions); ++i) {
        test_completion_init(&completions[i]);
        status =
                uct_ep_get_zcopy(test.ep[0][1], &iov, 1, (uintptr_t)memory.base,
                                 bundle.rkey, &completions[i].super);
        num_sent += (status == UCS_INPROGRESS);
    }
    assert_true(num_sent > 0);
    uct_ep_destroy(test.ep[0][1]);
    assert_int_equal(test_num_completed, num_sent);
    assert_int_equal(completions[0].super.status, UCS_ERR_CANCELED);
    memset(data, TEST_PATTERN, TEST_SIZE);
    for (i = 0; i < 1000; ++i) {
        test_progress();
    }
    for (i = 0; i < TEST_SIZE; ++i) {
        assert_int_equal(data[i], TEST_PATTERN);
    }
    test.ep[0][1] = test.ep[0][0];
    uct_ep_destroy(test.ep[1][0]);
    uct_ep_destroy(test.ep[1][1]);
    uct_ep_destroy(test.ep[0][0]);
    test_release(&bundle);
    test_memory_free(&memory);
    utest_iface_close(&test.iface[0]);
    utest_iface_close(&test.iface[1]);
    utest_context_close(&test.context);
    free(data);
}

/* What two processes tell each other */
typedef struct test_offer {
    utest_address_t address;
    uint64_t        base;
    uint8_t         key[sizeof(xshm_abi_key_t)];
} test_offer_t;

static void test_offer(int fd, const test_memory_t *memory)
{
    test_offer_t offer = {.base = (uintptr_t)memory->base};

    utest_address_get(&test.iface[0], &offer.address);
    memcpy(offer.key, memory->key, sizeof(offer.key));
    xshm_test_put(fd, &offer, sizeof(offer));
}

/* A target that does nothing: no progress, no call of UCX */
static void test_passive_target(int fd, void *arg)
{
    test_memory_t memory;

    test_open(1);
    test_memory_alloc(&memory, TEST_SIZE);
    utest_fill(memory.base, TEST_SIZE, 1);
    test_offer(fd, &memory);
    xshm_test_await(fd);
    xshm_test_check(utest_is_filled(memory.base, TEST_SIZE, 2));
    test_memory_free(&memory);
    xshm_test_signal(fd);
    xshm_test_await(fd);
    test_close();
}

/* Progress until the other process says something */
static void test_serve(int fd)
{
    char byte;

    while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK) < 0) {
        test_progress();
    }
    xshm_test_await(fd);
}

/* Only the allocated memory may be written, with ones */
static void test_keys_target(int fd, void *arg)
{
    test_memory_t memory, other;
    unsigned      i;

    test_open(1);
    test_memory_alloc(&memory, TEST_SIZE);
    test_memory_reg(&other, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_offer(fd, &memory);
    test_serve(fd);
    xshm_test_check(memory.base[0] == 1);
    xshm_test_check(memory.base[TEST_SIZE - 1] == 1);
    for (i = 0; i < TEST_SIZE; ++i) {
        xshm_test_check(memory.base[i] <= 1);
        xshm_test_check(other.base[i] == TEST_PATTERN);
    }
    test_memory_free(&other);
    test_memory_free(&memory);
    test_close();
}

static void test_cycles_target(int fd, void *arg);
static void test_withdraw_target(int fd, void *arg);
static void test_killed_target(int fd, void *arg);
static void test_killed_owner(int fd, void *arg);
static void test_killed_initiator(int fd, void *arg);
static void test_adder(int fd, void *arg);

/* Targets in processes of their own */
static const struct {
    const char *name;
    void (*run)(int fd, void *arg);
} test_targets[] = {{"passive", test_passive_target},
                    {"keys", test_keys_target},
                    {"adder", test_adder},
                    {"cycles", test_cycles_target},
                    {"withdraw", test_withdraw_target},
                    {"killed", test_killed_target},
                    {"owner", test_killed_owner},
                    {"initiator", test_killed_initiator}};

static void test_exec_target(int fd, void *name)
{
    char number[16];

    snprintf(number, sizeof(number), "%d", fcntl(fd, F_DUPFD, 0));
    execl("/proc/self/exe", "test_rma", (char *)name, number, NULL);
    xshm_test_check(0);
}

/* A forked process could not use the transport, which this one uses already: so
 * it is another program, too */
static void test_target_start(xshm_test_peer_t *peer, char *name)
{
    xshm_test_peer_start(peer, test_exec_target, name);
}

static int test_target_main(const char *name, int fd)
{
    unsigned i;

    xshm_test_device = xshm_test_devices[0];
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(test_targets); ++i) {
        if (!strcmp(test_targets[i].name, name)) {
            test_targets[i].run(fd, NULL);
            return 0;
        }
    }
    return 1;
}

static void test_connect_offer(const test_offer_t *offer)
{
    uct_ep_destroy(test.ep[0][1]);
    assert_int_equal(utest_connect(&test.iface[0], &offer->address,
                                   &test.ep[0][1]),
                     UCS_OK);
}

static void test_passive(void **state)
{
    uint8_t          *data = malloc(TEST_SIZE);
    uct_rkey_bundle_t bundle;
    xshm_test_peer_t  peer;
    test_offer_t      offer;
    unsigned          maps;
    uint64_t          word;

    test_target_start(&peer, "passive");
    xshm_test_get(peer.fd, &offer, sizeof(offer));
    test_open(2);
    test_connect_offer(&offer);
    /* The channel by which the owner's end is noticed is not counted */
    assert_int_equal(uct_ep_check(test.ep[0][1], 0, NULL), UCS_OK);
    maps = xshm_test_count_shared_maps();
    assert_int_equal(test_unpack(offer.key, &bundle), UCS_OK);
    assert_int_equal(test_get_zcopy(data, TEST_SIZE, offer.base, bundle.rkey),
                     UCS_OK);
    assert_true(utest_is_filled(data, TEST_SIZE, 1));
    utest_fill(data, TEST_SIZE, 2);
    memcpy(&word, data, sizeof(word));
    assert_int_equal(test_put_zcopy(data, TEST_SIZE, offer.base, bundle.rkey),
                     UCS_OK);
    *(uint64_t *)data = 0;
    assert_int_equal(test_put_short(data, sizeof(word), offer.base,
                                    bundle.rkey),
                     UCS_OK);
    assert_int_equal(test_retry(uct_ep_atomic64_post(test.ep[0][1],
                                                     UCT_ATOMIC_OP_ADD, word,
                                                     offer.base, bundle.rkey)),
                     UCS_OK);
    assert_int_equal(test_flush(test.ep[0][1]), UCS_OK);
    xshm_test_signal(peer.fd);

    /* The owner has freed it: it is unmapped here with the last key */
    xshm_test_await(peer.fd);
    test_release(&bundle);
    xshm_test_wait(xshm_test_count_shared_maps() <= maps);
    xshm_test_signal(peer.fd);
    xshm_test_peer_join(&peer);
    test_close();
    free(data);
}

/* In front of what a key names, and behind it, if it is all of what is mapped */
static void test_refused_outside(const void *data, size_t length, uint64_t base,
                                 uct_rkey_t rkey)
{
    const uint64_t places[] = {base - length, base - 1,
                               base + TEST_SIZE - length + 1, base + TEST_SIZE};
    ucs_status_t   status;
    unsigned       i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(places); ++i) {
        status = test_put_short(data, length, places[i], rkey);
        status = (status == UCS_OK) ? test_flush(test.ep[0][1]) : status;
        assert_int_equal(status, UCS_ERR_REJECTED);
    }
}

/* Every bit turned of a key of memory that is mapped here: before it is, and
 * after */
static void test_hostile_mapped_keys(void **state)
{
    uint8_t           data[TEST_GUARD];
    uct_rkey_bundle_t bundle;
    xshm_test_peer_t  peer;
    test_offer_t      offer;
    unsigned          bit, round;

    test_target_start(&peer, "keys");
    xshm_test_get(peer.fd, &offer, sizeof(offer));
    test_open(2);
    test_connect_offer(&offer);
    memset(data, 1, sizeof(data));
    for (round = 0; round < 2; ++round) {
        for (bit = 0; bit < 8 * sizeof(offer.key); ++bit) {
            offer.key[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            if (test_unpack(offer.key, &bundle) == UCS_OK) {
                (void)test_put_short(data, sizeof(data), offer.base,
                                     bundle.rkey);
                (void)test_put_short(data, sizeof(data),
                                     offer.base + TEST_SIZE - sizeof(data),
                                     bundle.rkey);
                (void)test_flush(test.ep[0][1]);
                test_refused_outside(data, sizeof(data), offer.base,
                                     bundle.rkey);
                test_release(&bundle);
            }
            offer.key[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }

        /* It is mapped from now on, and stays so */
        assert_int_equal(test_unpack(offer.key, &bundle), UCS_OK);
        assert_int_equal(test_put_short(data, sizeof(data), offer.base,
                                        bundle.rkey),
                         UCS_OK);
        test_refused_outside(data, sizeof(data), offer.base, bundle.rkey);
        test_release(&bundle);
    }
    xshm_test_signal(peer.fd);
    xshm_test_peer_join(&peer);
    test_close();
}

static void test_cycles_target(int fd, void *arg)
{
    test_memory_t memory;
    unsigned      i, num_fds = 0;

    test_open(1);
    for (i = 0; i < TEST_NUM_CYCLES; ++i) {
        test_memory_alloc(&memory, TEST_CYCLE_SIZE);
        test_offer(fd, &memory);
        xshm_test_await(fd);
        xshm_test_check(*(uint64_t *)memory.base == i + 1);
        test_memory_free(&memory);
        if (i == TEST_NUM_CYCLES / 10) {
            num_fds = xshm_test_count_fds();
        }
    }
    xshm_test_wait(xshm_test_count_fds() <= num_fds);
    test_close();
}

/* Allocate, access, free, again and again: neither side grows */
static void test_cycles(void **state)
{
    uct_rkey_bundle_t bundle;
    xshm_test_peer_t  peer;
    test_offer_t      offer;
    unsigned          maps = 0;
    uint64_t          i;

    test_target_start(&peer, "cycles");
    test_open(2);
    for (i = 1; i <= TEST_NUM_CYCLES; ++i) {
        xshm_test_get(peer.fd, &offer, sizeof(offer));
        if (i == 1) {
            test_connect_offer(&offer);
        }
        assert_int_equal(test_unpack(offer.key, &bundle), UCS_OK);
        assert_int_equal(test_put_short(&i, sizeof(i), offer.base, bundle.rkey),
                         UCS_OK);
        test_release(&bundle);
        if (i == TEST_NUM_CYCLES / 10) {
            maps = xshm_test_count_shared_maps();
        }
        if (i == TEST_NUM_CYCLES) {
            xshm_test_wait(xshm_test_count_shared_maps() <= maps);
        }
        xshm_test_signal(peer.fd);
    }
    xshm_test_peer_join(&peer);
    test_close();
}

/* Pages of mapped memory that there are */
static unsigned test_count_pages(const void *address, size_t length)
{
    unsigned char is_there[TEST_CYCLE_SIZE / XSHM_ABI_PAGE_SIZE];
    unsigned      count = 0;
    size_t        i;

    assert_int_equal(mincore((void *)address, length, is_there), 0);
    for (i = 0; i < length / XSHM_ABI_PAGE_SIZE; ++i) {
        count += is_there[i] & 1;
    }
    return count;
}

/* A user that gives no key back has all of it mapped, but costs the owner no
 * page of what was freed */
static void test_keys_are_kept(void **state)
{
    static uct_rkey_bundle_t bundles[TEST_NUM_CYCLES];
    xshm_test_peer_t         peer;
    test_offer_t             offer;
    unsigned                 maps = 0;
    uint64_t                 i;
    void                    *ptr = NULL;

    test_target_start(&peer, "cycles");
    test_open(2);
    for (i = 1; i <= TEST_NUM_CYCLES; ++i) {
        xshm_test_get(peer.fd, &offer, sizeof(offer));
        if (i == 1) {
            test_connect_offer(&offer);
            assert_int_equal(uct_ep_check(test.ep[0][1], 0, NULL), UCS_OK);
            maps = xshm_test_count_shared_maps();
        } else {
            /* The owner's service may have been looking at it */
            xshm_test_wait(test_count_pages(ptr, TEST_CYCLE_SIZE) == 0);
        }
        assert_int_equal(test_unpack(offer.key, &bundles[i - 1]), UCS_OK);
        assert_int_equal(test_put_short(&i, sizeof(i), offer.base,
                                        bundles[i - 1].rkey),
                         UCS_OK);
        assert_int_equal(uct_rkey_ptr(test_component(), &bundles[i - 1],
                                      offer.base, &ptr),
                         UCS_OK);
        assert_true(test_count_pages(ptr, TEST_CYCLE_SIZE) > 0);
        xshm_test_signal(peer.fd);
    }
    xshm_test_peer_join(&peer);
    assert_true(xshm_test_count_shared_maps() >= TEST_NUM_CYCLES);
    for (i = 0; i < TEST_NUM_CYCLES; ++i) {
        test_release(&bundles[i]);
    }
    xshm_test_wait(xshm_test_count_shared_maps() <= maps);
    test_close();
}

/* Registers, lets the peer write, ends the registration while it does, and
 * frees the memory at once */
static void test_withdraw_target(int fd, void *arg)
{
    test_memory_t memory;
    unsigned      i;

    test_open(1);
    for (i = 0; i < 100; ++i) {
        test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
        test_offer(fd, &memory);
        memory.base[TEST_SIZE - 1] = 0;
        while (*(volatile uint8_t *)&memory.base[TEST_SIZE - 1] == 0) {
            test_progress();
        }
        test_memory_free(&memory);
        xshm_test_signal(fd);
        while (recv(fd, &i, 0, MSG_DONTWAIT | MSG_PEEK) < 0) {
            test_progress();
        }
        xshm_test_await(fd);
    }
    test_close();
}

static void test_withdraw(void **state)
{
    uint8_t          *data = malloc(TEST_SIZE);
    uct_rkey_bundle_t bundle;
    xshm_test_peer_t  peer;
    test_offer_t      offer;
    ucs_status_t      status;
    unsigned          i;

    memset(data, 1, TEST_SIZE);
    test_target_start(&peer, "withdraw");
    test_open(2);
    for (i = 0; i < 100; ++i) {
        xshm_test_get(peer.fd, &offer, sizeof(offer));
        if (i == 0) {
            test_connect_offer(&offer);
        }
        assert_int_equal(test_unpack(offer.key, &bundle), UCS_OK);
        do {
            status = test_put_zcopy(data, TEST_SIZE, offer.base, bundle.rkey);
        } while (status == UCS_OK);
        assert_int_equal(status, UCS_ERR_REJECTED);
        test_release(&bundle);
        xshm_test_await(peer.fd);
        xshm_test_signal(peer.fd);
    }
    xshm_test_peer_join(&peer);
    test_close();
    free(data);
}

static ucs_status_t test_handler(void *arg, uct_ep_h ep, ucs_status_t status)
{
    ++*(unsigned *)arg;
    return UCS_OK;
}

static void test_killed_target(int fd, void *arg)
{
    test_memory_t memory;

    test_open(1);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    test_offer(fd, &memory);
    for (;;) {
        test_progress();
    }
}

/* Who has a target that will die */
typedef struct test_survivor {
    xshm_test_peer_t  peer;
    test_offer_t      offer;
    uct_rkey_bundle_t bundle;
    unsigned          failed; /* Endpoints */
} test_survivor_t;

/* Interfaces that count failures, and an endpoint of the first one: ep[0][1] */
static void test_survivor_open(test_survivor_t *survivor, char *target)
{
    unsigned i;

    survivor->failed = 0;
    test_target_start(&survivor->peer, target);
    xshm_test_get(survivor->peer.fd, &survivor->offer, sizeof(survivor->offer));
    memset(&test, 0, sizeof(test));
    utest_context_open(&test.context, "xshm", xshm_test_device);
    for (i = 0; i < 2; ++i) {
        utest_iface_open(&test.iface[i], &test.context, test_handler,
                         &survivor->failed);
    }
    assert_int_equal(utest_connect(&test.iface[0], &survivor->offer.address,
                                   &test.ep[0][1]),
                     UCS_OK);
    assert_int_equal(test_unpack(survivor->offer.key, &survivor->bundle),
                     UCS_OK);
}

static void test_survivor_close(test_survivor_t *survivor)
{
    uct_ep_destroy(test.ep[0][1]);
    test_release(&survivor->bundle);
    utest_iface_close(&test.iface[0]);
    utest_iface_close(&test.iface[1]);
    utest_context_close(&test.context);
}

static ucs_status_t test_survivor_put(test_survivor_t *survivor, uct_ep_h ep)
{
    const uint64_t word = 1;

    return test_retry(uct_ep_put_short(ep, &word, sizeof(word),
                                       survivor->offer.base,
                                       survivor->bundle.rkey));
}

static ucs_status_t test_survivor_add(test_survivor_t *survivor)
{
    return test_retry(uct_ep_atomic64_post(test.ep[0][1], UCT_ATOMIC_OP_ADD, 1,
                                           survivor->offer.base,
                                           survivor->bundle.rkey));
}

static ucs_status_t test_survivor_get(test_survivor_t *survivor)
{
    uint64_t word;

    return test_get_bcopy(&word, sizeof(word), survivor->offer.base,
                          survivor->bundle.rkey);
}

static void test_target_killed_once(void)
{
    static test_completion_t completion;
    uint8_t                 *data = malloc(TEST_SIZE);
    uct_iov_t                iov  = {.length = TEST_SIZE, .count = 1};
    test_survivor_t          survivor;
    ucs_status_t             status;
    unsigned                 i;

    memset(data, 1, TEST_SIZE);
    test_survivor_open(&survivor, "killed");
    iov.buffer = data;
    i          = 0;
    while (survivor.failed == 0) {
        test_completion_init(&completion);
        status = uct_ep_get_zcopy(test.ep[0][1], &iov, 1, survivor.offer.base,
                                  survivor.bundle.rkey, &completion.super);
        if (i++ == 10) {
            xshm_test_peer_kill(&survivor.peer);
        }
        if (status == UCS_INPROGRESS) {
            test_wait_for(completion.super.count == 0);
        } else {
            test_progress();
        }
    }
    assert_int_not_equal(test_survivor_put(&survivor, test.ep[0][1]), UCS_OK);
    test_survivor_close(&survivor);
    close(survivor.peer.fd);
    free(data);
}

/* The target dies in the middle of it: every operation ends, with an error, and
 * nothing of it stays */
static void test_target_killed(void **state)
{
    unsigned maps, fds, i;

    /* After the first time all is there that is needed once */
    test_target_killed_once();
    maps = xshm_test_count_shared_maps();
    fds  = xshm_test_count_fds();
    for (i = 0; i < 3; ++i) {
        test_target_killed_once();
        xshm_test_wait((xshm_test_count_shared_maps() <= maps) &&
                       (xshm_test_count_fds() <= fds));
    }
}

/* Its memory can be mapped, and it does nothing */
static void test_killed_owner(int fd, void *arg)
{
    test_memory_t memory;

    test_open(1);
    test_memory_alloc(&memory, TEST_SIZE);
    test_offer(fd, &memory);
    for (;;) {
        pause();
    }
}

/* Nothing is sent: what is done directly goes on until the owner's end is
 * noticed */
static void test_owner_killed_case(ucs_status_t (*access)(test_survivor_t *))
{
    test_survivor_t survivor;
    ucs_status_t    status;

    test_survivor_open(&survivor, "owner");
    assert_int_equal(access(&survivor), UCS_OK);
    xshm_test_peer_kill(&survivor.peer);
    test_wait_for((status = access(&survivor)) != UCS_OK);
    assert_int_equal(status, UCS_ERR_ENDPOINT_TIMEOUT);
    assert_int_equal(survivor.failed, 1);
    test_survivor_close(&survivor);
}

static ucs_status_t test_access_put(test_survivor_t *survivor)
{
    return test_survivor_put(survivor, test.ep[0][1]);
}

static void test_owner_killed(void **state)
{
    test_owner_killed_case(test_access_put);
    test_owner_killed_case(test_survivor_get);
    test_owner_killed_case(test_survivor_add);
}

/* After one access, nothing is done */
static void test_owner_killed_idle(void **state)
{
    test_survivor_t survivor;

    test_survivor_open(&survivor, "owner");
    assert_int_equal(test_survivor_put(&survivor, test.ep[0][1]), UCS_OK);
    xshm_test_peer_kill(&survivor.peer);
    test_wait_for(survivor.failed == 1);
    test_survivor_close(&survivor);
}

/* By endpoints that find the memory mapped already, one after the other and at
 * the same time */
static void test_owner_killed_mapped(void **state)
{
    test_survivor_t survivor;
    uct_ep_h        other;

    test_survivor_open(&survivor, "owner");
    assert_int_equal(test_survivor_put(&survivor, test.ep[0][1]), UCS_OK);
    uct_ep_destroy(test.ep[0][1]);
    assert_int_equal(utest_connect(&test.iface[0], &survivor.offer.address,
                                   &test.ep[0][1]),
                     UCS_OK);
    assert_int_equal(utest_connect(&test.iface[1], &survivor.offer.address,
                                   &other),
                     UCS_OK);
    assert_int_equal(test_survivor_put(&survivor, test.ep[0][1]), UCS_OK);
    assert_int_equal(test_survivor_put(&survivor, other), UCS_OK);
    xshm_test_peer_kill(&survivor.peer);
    test_wait_for(survivor.failed == 2);
    uct_ep_destroy(other);
    test_survivor_close(&survivor);
}

/* An owner that is stopped is no error, and not waited for; its death is
 * noticed although it has never answered */
static void test_owner_stopped(void **state)
{
    test_survivor_t survivor;
    uct_ep_h        other;
    double          end;

    test_survivor_open(&survivor, "owner");
    assert_int_equal(utest_connect(&test.iface[1], &survivor.offer.address,
                                   &other),
                     UCS_OK);
    assert_int_equal(test_survivor_put(&survivor, other), UCS_OK);
    kill(survivor.peer.pid, SIGSTOP);
    assert_int_equal(test_survivor_put(&survivor, test.ep[0][1]), UCS_OK);
    assert_int_equal(uct_ep_flush(test.ep[0][1], 0, NULL), UCS_OK);
    assert_int_equal(uct_iface_flush(test.iface[0].iface, 0, NULL), UCS_OK);
    for (end = utest_now() + TEST_STOPPED; utest_now() < end;) {
        test_progress();
    }
    assert_int_equal(survivor.failed, 0);
    xshm_test_peer_kill(&survivor.peer);
    test_wait_for(survivor.failed == 2);
    uct_ep_destroy(other);
    test_survivor_close(&survivor);
}

/* Nothing but a check, of one that is stopped, and of one that is dead: nothing
 * waits for it to answer, and its death is noticed though it has not */
static void test_owner_checked(void **state)
{
    test_survivor_t survivor;

    test_survivor_open(&survivor, "owner");
    kill(survivor.peer.pid, SIGSTOP);
    assert_int_equal(uct_ep_check(test.ep[0][1], 0, NULL), UCS_OK);
    assert_int_equal(uct_ep_flush(test.ep[0][1], 0, NULL), UCS_OK);
    assert_int_equal(uct_iface_flush(test.iface[0].iface, 0, NULL), UCS_OK);
    test_progress();
    assert_int_equal(survivor.failed, 0);
    xshm_test_peer_kill(&survivor.peer);
    test_wait_for(survivor.failed == 1);
    uct_ep_destroy(test.ep[0][1]);

    assert_int_equal(utest_connect(&test.iface[0], &survivor.offer.address,
                                   &test.ep[0][1]),
                     UCS_OK);
    assert_int_equal(uct_ep_check(test.ep[0][1], 0, NULL), UCS_OK);
    test_wait_for(survivor.failed == 2);
    test_survivor_close(&survivor);
}

/* How often each of two adds: who does it directly is faster */
#define TEST_MESSAGE_SUMS 20000
#define TEST_DIRECT_SUMS  (200 * TEST_MESSAGE_SUMS)

/* Every so many times in two more ways, one each */
#define TEST_SUM_STEP    16
#define TEST_SUM(_count) ((_count) + (2 * ((_count) / TEST_SUM_STEP)))

#define TEST_DEFINE_ADD(_bits) \
    static void test_add##_bits(uint64_t address, uct_rkey_t rkey, \
                                unsigned count) \
    { \
        uct_ep_h          ep = test.ep[0][1]; \
        uint##_bits##_t   old, seen = 0; \
        test_completion_t completion; \
        unsigned          i; \
\
        for (i = 0; i < count; ++i) { \
            xshm_test_check(test_retry(uct_ep_atomic##_bits##_post( \
                                    ep, UCT_ATOMIC_OP_ADD, 1, address, \
                                    rkey)) == UCS_OK); \
            if ((i % TEST_SUM_STEP) != 0) { \
                continue; \
            } \
            test_completion_init(&completion); \
            xshm_test_check( \
                    test_finish(test_retry(uct_ep_atomic##_bits##_fetch( \
                                        ep, UCT_ATOMIC_OP_ADD, 1, &seen, \
                                        address, rkey, &completion.super)), \
                                &completion) == UCS_OK); \
            do { \
                old = seen; \
                test_completion_init(&completion); \
                xshm_test_check( \
                        test_finish(test_retry(uct_ep_atomic_cswap##_bits( \
                                            ep, old, old + 1, address, rkey, \
                                            &seen, &completion.super)), \
                                    &completion) == UCS_OK); \
            } while (seen != old); \
        } \
    }

TEST_DEFINE_ADD(32)
TEST_DEFINE_ADD(64)

/* Adds to words that another process adds to as well */
static void test_adder(int fd, void *arg)
{
    int               is_message = (getenv("UCX_XSHM_RMA") != NULL);
    unsigned          count = is_message ? TEST_MESSAGE_SUMS : TEST_DIRECT_SUMS;
    uct_rkey_bundle_t bundle;
    test_offer_t      offer;
    void             *ptr;

    xshm_test_get(fd, &offer, sizeof(offer));
    test_open(2);
    test_connect_offer(&offer);
    xshm_test_check(test_unpack(offer.key, &bundle) == UCS_OK);
    /* Both begin at the same time */
    test_add64(offer.base, bundle.rkey, 1);
    xshm_test_signal(fd);
    xshm_test_await(fd);
    test_add64(offer.base, bundle.rkey, count);
    test_add32(offer.base + sizeof(uint64_t), bundle.rkey, count);
    xshm_test_check(test_flush(test.ep[0][1]) == UCS_OK);
    xshm_test_check((uct_rkey_ptr(test_component(), &bundle, offer.base,
                                  &ptr) == UCS_OK) == !is_message);
    xshm_test_signal(fd);
    test_release(&bundle);
    xshm_test_await(fd);
    test_close();
}

/* Atomic operations of both ways on the same words at once */
static void test_atomics_of_both_ways(void **state)
{
    const uint64_t sum =
            TEST_SUM(TEST_MESSAGE_SUMS) + TEST_SUM(TEST_DIRECT_SUMS);
    xshm_test_peer_t peers[2];
    test_memory_t    memory;
    unsigned         i;

    test_open(1);
    test_memory_alloc(&memory, TEST_SIZE);
    test_target_start(&peers[0], "adder");
    setenv("UCX_XSHM_RMA", "message", 1);
    test_target_start(&peers[1], "adder");
    unsetenv("UCX_XSHM_RMA");
    for (i = 0; i < 2; ++i) {
        test_offer(peers[i].fd, &memory);
    }
    for (i = 0; i < 2; ++i) {
        test_serve(peers[i].fd);
    }
    /* What was added in the beginning, three times by each */
    assert_true(*(uint64_t *)memory.base == 6);
    *(uint64_t *)memory.base = 0;
    for (i = 0; i < 2; ++i) {
        xshm_test_signal(peers[i].fd);
    }
    for (i = 0; i < 2; ++i) {
        test_serve(peers[i].fd);
    }
    assert_true(*(uint64_t *)memory.base == sum);
    assert_true(((uint32_t *)memory.base)[2] == sum);
    assert_true(((uint32_t *)memory.base)[3] == 0);
    for (i = 0; i < 2; ++i) {
        xshm_test_signal(peers[i].fd);
        xshm_test_peer_join(&peers[i]);
    }
    test_memory_free(&memory);
    test_close();
}

/* Writes without end, by message */
static void test_killed_initiator(int fd, void *arg)
{
    uint8_t          *data = malloc(TEST_SIZE);
    uct_rkey_bundle_t bundle;
    test_offer_t      offer;

    memset(data, 1, TEST_SIZE);
    xshm_test_get(fd, &offer, sizeof(offer));
    test_open(2);
    test_connect_offer(&offer);
    xshm_test_check(test_unpack(offer.key, &bundle) == UCS_OK);
    for (;;) {
        (void)test_put_zcopy(data, TEST_SIZE, offer.base, bundle.rkey);
    }
}

/* The initiator dies in the middle of a put: nothing but what is registered was
 * written, and nothing of it stays */
static void test_initiator_killed(void **state)
{
    test_memory_t    memory;
    xshm_test_peer_t peer;
    unsigned         maps, fds, i;

    test_open(1);
    test_memory_reg(&memory, TEST_SIZE, UCT_MD_MEM_ACCESS_ALL);
    maps = xshm_test_count_shared_maps();
    fds  = xshm_test_count_fds();
    for (i = 0; i < 10; ++i) {
        memory.base[i] = 0;
        test_target_start(&peer, "initiator");
        test_offer(peer.fd, &memory);
        test_wait_for(memory.base[i] == 1);
        xshm_test_peer_kill(&peer);
        test_wait_for((xshm_test_count_shared_maps() <= maps) &&
                      (xshm_test_count_fds() <= fds));
    }
    test_memory_free(&memory);
    test_close();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_nothing),
            cmocka_unit_test(test_all_sizes),
            cmocka_unit_test(test_packed_past_caches),
            cmocka_unit_test(test_unpack_puts),
            cmocka_unit_test(test_all_refused),
            cmocka_unit_test(test_all_atomics),
            cmocka_unit_test(test_many_in_order),
            cmocka_unit_test(test_pending),
            cmocka_unit_test(test_mixed_with_fence),
            cmocka_unit_test(test_mixed_with_flush),
            cmocka_unit_test(test_fence_orders_messages),
            cmocka_unit_test(test_all_to_all),
            cmocka_unit_test(test_hostile_keys),
            cmocka_unit_test(test_rights),
            cmocka_unit_test(test_stale_key),
            cmocka_unit_test(test_many_refused),
            cmocka_unit_test(test_refused_flush),
            cmocka_unit_test(test_rkey_ptr),
            cmocka_unit_test(test_counters),
            cmocka_unit_test(test_same_interface_elsewhere),
            cmocka_unit_test(test_hint_of_keys),
            cmocka_unit_test(test_destroy_cancels),
            cmocka_unit_test(test_passive),
            cmocka_unit_test(test_hostile_mapped_keys),
            cmocka_unit_test(test_cycles),
            cmocka_unit_test(test_keys_are_kept),
            cmocka_unit_test(test_withdraw),
            cmocka_unit_test(test_atomics_of_both_ways),
            cmocka_unit_test(test_target_killed),
            cmocka_unit_test(test_owner_killed),
            cmocka_unit_test(test_owner_killed_idle),
            cmocka_unit_test(test_owner_killed_mapped),
            cmocka_unit_test(test_owner_stopped),
            cmocka_unit_test(test_owner_checked),
            cmocka_unit_test(test_initiator_killed)};
    const char *library = getenv("XSHM_TEST_LIBRARY");

    if ((library == NULL) || (dlopen(library, RTLD_NOW) == NULL)) {
        utest_fail("cannot load the library: set XSHM_TEST_LIBRARY to its "
                   "name (%s)",
                   dlerror());
    }
    if (argc == 3) {
        return test_target_main(argv[1], atoi(argv[2]));
    }

    xshm_test_log_start();
    return xshm_test_run_on_devices("rma", tests, XSHM_TEST_ARRAY_SIZE(tests));
}
