/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What becomes of pages that were granted to a virtual machine when it ends, and
 * another one gets its number; what is said, and how often it is tried again, where
 * xenstore has no room or cannot be reached. The kernel, the hypervisor, xenstore and the other
 * machine are functions of this file; needs Xen's headers only.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif

#include "test_util.h"

#include <uct/xshm/platform/complain.h>
#include <uct/xshm/platform/fdset.h>
#include <uct/xshm/platform/gntalloc.h>
#include <uct/xshm/platform/xen/xen_region.h>
#include <uct/xshm/platform/xen/xen_view.h>
#include <uct/xshm/platform/xen/xen_wake.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xen/gntalloc.h>


#define TEST_DOMID     7
#define TEST_DATA_SIZE (XSHM_ABI_RING_OFFSET + 65536)
#define TEST_SECRET    0x5a
#define TEST_LENGTH    (3 * XSHM_ABI_PAGE_SIZE)
#define TEST_LIMIT     16384

/* Regions that are allocated in turn, and the pages of each: with those of its
 * table and its mappers' page they are as many as below */
#define TEST_NUM_CYCLES   1000
#define TEST_REGION_PAGES 30
#define TEST_ALL_PAGES    (TEST_REGION_PAGES + 2)

/* Those that the domain may keep: a quarter of the limit, and what is freed on
 * its word (docs/security.md). The last region may go beyond. */
#define TEST_MAX_KEPT (TEST_LIMIT / 4 + TEST_ALL_PAGES)

/* After which a request is given up, milliseconds */
#define TEST_ASK_MS 30000

#define TEST_MINUTE 60000 /* Milliseconds */

/* After which pages that may be freed are freed */
#define TEST_LONG (2 * XSHM_XEN_MEM_POOL_MS)


static struct {
    xshm_xen_t         xen;
    xshm_xen_domain_t *domain;
    const char        *identity;    /* What xenstore says of the domain */
    int                is_gone;     /* What the hypervisor says of it */
    long               num_granted; /* Pages of channels */
    int                mappers_fd;  /* Mappers' page of the last region */
    uint64_t           mappers_index;
    unsigned           num_requests;  /* Nodes that were written */
    unsigned           num_closed;    /* Channels that were reported */
    xshm_reason_t      closed_reason; /* As which all of them have to be */
    int                write_error;   /* Of xenstore, or 0 */
    int                watch_error;   /* The same */
    int                open_error;    /* Of reaching xenstore, or 0 */
    unsigned           num_opened;    /* How often that was tried */
    uint64_t           now;
} test;

/* Two machines, and what xenstore says of them */
static const xshm_xen_dev_addr_t test_one_addr   = {.identity = {1, 2, 3},
                                                    .domid    = TEST_DOMID};
static const xshm_xen_dev_addr_t test_other_addr = {.identity = {4, 5, 6},
                                                    .domid    = TEST_DOMID};
static char                      test_one[XSHM_XEN_VALUE_MAX];
static char                      test_other[XSHM_XEN_VALUE_MAX];


/* The kernel */

int xshm_gntalloc_open(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    xshm_fdset_add(fd);
    return fd;
}

ucs_status_t xshm_gntalloc_grant(int fd, uint32_t domid, uint16_t flags,
                                 uint32_t count, uint64_t *index_p,
                                 uint32_t **grefs_p)
{
    struct stat stat;

    (void)domid;

    assert_int_equal(fstat(fd, &stat), 0);
    *index_p = (uint64_t)stat.st_size;
    assert_int_equal(ftruncate(fd, stat.st_size +
                                           (off_t)count * XSHM_ABI_PAGE_SIZE),
                     0);
    *grefs_p = calloc(count, sizeof(**grefs_p));
    if (fd == test.xen.gntalloc_fd) {
        test.num_granted += count;
    } else if ((count == 1) && (flags & GNTALLOC_FLAG_WRITABLE)) {
        test.mappers_fd    = fd;
        test.mappers_index = *index_p;
    }
    return UCS_OK;
}

void xshm_gntalloc_ungrant(int fd, uint64_t index, uint32_t count)
{
    (void)index;

    if (fd == test.xen.gntalloc_fd) {
        test.num_granted -= count;
    }
}

int xshm_gntalloc_is_device(int fd)
{
    (void)fd;

    return 1;
}

int xshm_gntalloc_begin_try(int fd)
{
    (void)fd;

    return 1;
}

void xshm_gntalloc_end_try(int fd)
{
    (void)fd;
}

void xshm_gntalloc_await_try(int fd)
{
    (void)fd;
}

int xshm_gntalloc_clear_at_end(int fd, uint64_t index)
{
    (void)fd;
    (void)index;

    return 1;
}

long xshm_gntalloc_limit(void)
{
    return TEST_LIMIT;
}


/* The hypervisor */

int xshm_xen_is_domain_gone(uint32_t domid)
{
    return (domid == TEST_DOMID) && test.is_gone;
}


/* Xenstore */

char *xshm_xen_store_read(xshm_xen_store_t *store, const char *path)
{
    (void)store;
    (void)path;

    return (test.identity == NULL) ? NULL : strdup(test.identity);
}

/* Requests are all that is written here */
int xshm_xen_store_write(xshm_xen_store_t *store, const char *path,
                         const char *value)
{
    (void)store;
    (void)path;
    (void)value;

    if (test.write_error != 0) {
        errno = test.write_error;
        return 0;
    }

    ++test.num_requests;
    return 1;
}

int xshm_xen_store_share(xshm_xen_store_t *store, uint32_t domid,
                         const char *path, uint32_t reader)
{
    (void)store;
    (void)domid;
    (void)path;
    (void)reader;

    return 1;
}

int xshm_xen_store_has_room(xshm_xen_store_t *store, const char *path)
{
    (void)store;
    (void)path;

    return 1;
}

void xshm_xen_store_remove(xshm_xen_store_t *store, const char *path)
{
    (void)store;
    (void)path;
}

char **
xshm_xen_store_list(xshm_xen_store_t *store, const char *path, unsigned *num_p)
{
    (void)store;
    (void)path;

    *num_p = 0;
    return NULL;
}

ucs_status_t xshm_xen_store_watch(xshm_xen_store_t *store, const char *path)
{
    (void)store;
    (void)path;

    if (test.watch_error == 0) {
        return UCS_OK;
    }

    errno = test.watch_error;
    return (errno == E2BIG) ? UCS_ERR_EXCEEDS_LIMIT : UCS_ERR_IO_ERROR;
}

void xshm_xen_store_unwatch(xshm_xen_store_t *store, const char *path)
{
    (void)store;
    (void)path;
}

ucs_status_t xshm_xen_store_reopen(xshm_xen_store_t *store)
{
    (void)store;

    ++test.num_opened;
    errno = test.open_error;
    return (test.open_error == 0) ? UCS_OK : UCS_ERR_IO_ERROR;
}


/* The rest of the platform, and what would need all of it */

const char *xshm_reason_string(xshm_reason_t reason)
{
    (void)reason;

    return "reason";
}

void xshm_xen_kick(xshm_xen_t *xen)
{
    (void)xen;
}

uint64_t xshm_xen_now_ms(void)
{
    return test.now;
}

ucs_status_t xshm_xen_poll_store(xshm_xen_t *xen)
{
    (void)xen;

    return UCS_OK;
}

uint32_t xshm_xen_now_s(void)
{
    return (uint32_t)(test.now / 1000);
}

uint32_t xshm_xen_domid(const xshm_xen_t *xen)
{
    (void)xen;

    return TEST_DOMID + 1;
}

void xshm_xen_note_events(xshm_xen_t *xen)
{
    (void)xen;
}

void xshm_xen_answer_lookups(xshm_xen_t *xen)
{
    (void)xen;
}

void xshm_xen_forget_lookups(xshm_xen_t *xen, uint32_t domid)
{
    (void)xen;
    (void)domid;
}

void xshm_xen_view_fail(xshm_xen_domain_t *domain)
{
    (void)domain;
}

void xshm_xen_view_scan(xshm_xen_domain_t *domain)
{
    (void)domain;
}

void xshm_xen_wake_scan(xshm_xen_conn_t *conn)
{
    (void)conn;
}

void xshm_xen_wake_detach(xshm_xen_conn_t *conn)
{
    (void)conn;
}

int xshm_xen_region_domain(xshm_platform_t *platform, int allowed)
{
    (void)platform;
    (void)allowed;

    return TEST_DOMID;
}


/* Its owner frees the memory later */
static void
test_closed(xshm_conn_t *conn, xshm_reason_t reason, uint32_t version)
{
    (void)version;

    assert_int_equal(reason, test.closed_reason);
    ++test.num_closed;
    xshm_xen_disconnect(conn);
}

static const xshm_platform_sink_t test_sink = {.closed = test_closed};

static int test_setup(void **state)
{
    (void)state;

    memset(&test, 0, sizeof(test));
    xshm_test_log_clear();
    xshm_xen_identity_format(test_one, test_one_addr.identity);
    xshm_xen_identity_format(test_other, test_other_addr.identity);
    test.xen.super.sink  = &test_sink;
    test.closed_reason   = XSHM_REASON_GONE;
    test.identity        = test_one;
    test.xen.gntalloc_fd = xshm_gntalloc_open();
    pthread_mutex_init(&test.xen.lock, NULL);
    ucs_list_head_init(&test.xen.domains);
    ucs_list_head_init(&test.xen.refusals);
    ucs_list_head_init(&test.xen.quarantine);
    ucs_list_head_init(&test.xen.pool);
    ucs_list_head_init(&test.xen.lingering);
    test.domain = xshm_xen_domain_get(&test.xen, TEST_DOMID);
    xshm_xen_domain_check(&test.xen, test.domain);
    return 0;
}

/* Regions are of the process: this machine has moved */
static int test_teardown(void **state)
{
    (void)state;

    xshm_xen_mem_cleanup(&test.xen);
    xshm_xen_domain_cleanup(&test.xen);
    xshm_xen_region_orphan();
    (void)xshm_xen_region_release();
    xshm_fdset_close(test.xen.gntalloc_fd);
    pthread_mutex_destroy(&test.xen.lock);
    return 0;
}

static int test_release(void)
{
    int is_left = xshm_xen_mem_release(&test.xen);

    return xshm_xen_region_release() || is_left;
}

static void test_release_after(uint64_t milliseconds)
{
    (void)test_release();
    test.now += milliseconds;
    (void)test_release();
}

/* What xenstore says of the domain changes */
static void test_change(const char *identity)
{
    test.identity = identity;
    xshm_xen_domain_check(&test.xen, test.domain);
}

/* The peer writes there */
static void test_set_bytes(int fd, uint64_t index, size_t length, int value)
{
    uint8_t *page = mmap(NULL, XSHM_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE,
                         MAP_SHARED, fd, (off_t)index);

    assert_ptr_not_equal(page, MAP_FAILED);
    memset(page, value, length);
    munmap(page, XSHM_ABI_PAGE_SIZE);
}

static xshm_xen_mem_t *test_alloc(void)
{
    xshm_mem_t *mem;

    assert_int_equal(xshm_xen_mem_alloc(&test.xen.super, &test_one_addr,
                                        TEST_DATA_SIZE, &mem),
                     UCS_OK);
    return (xshm_xen_mem_t *)mem;
}

static uint8_t *test_ring(const xshm_xen_mem_t *mem)
{
    return (uint8_t *)mem->super.data + XSHM_ABI_RING_OFFSET;
}

/* A channel that the peer has mapped, and was sent something by */
static xshm_xen_mem_t *test_send(void)
{
    xshm_xen_mem_t *mem = test_alloc();

    mem->is_asked = 1;
    test_set_bytes(test.xen.gntalloc_fd, mem->ret_index, XSHM_ABI_RETURN_SIZE,
                   1);
    memset(test_ring(mem), TEST_SECRET, TEST_DATA_SIZE - XSHM_ABI_RING_OFFSET);
    return mem;
}

/* By a well-behaved peer */
static void test_unmap(const xshm_xen_mem_t *mem)
{
    xshm_abi_return_t *ret =
            mmap(NULL, XSHM_ABI_RETURN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                 test.xen.gntalloc_fd, (off_t)mem->ret_index);

    ret->live = 0;
    munmap(ret, XSHM_ABI_RETURN_SIZE);
}

static int test_is_zero(const void *data, size_t length)
{
    const uint8_t *bytes = data;

    return (bytes[0] == 0) && !memcmp(bytes, bytes + 1, length - 1);
}

static int test_ring_is_zero(const xshm_xen_mem_t *mem)
{
    return test_is_zero(test_ring(mem), TEST_DATA_SIZE - XSHM_ABI_RING_OFFSET);
}

static void test_assert_clean(const xshm_xen_mem_t *mem)
{
    assert_true(test_ring_is_zero(mem));
    assert_true(test_is_zero(mem->super.ret, XSHM_ABI_RETURN_SIZE));
}

/* What waits to be used again holds nothing */
static void test_pages_in_the_pool_are_zero(void **state)
{
    xshm_xen_mem_t *mem = test_send();

    (void)state;

    test_unmap(mem);
    xshm_xen_mem_free(&mem->super);
    assert_true(test_ring_is_zero(mem));
    assert_ptr_equal(test_alloc(), mem);
    test_assert_clean(mem);
    xshm_xen_mem_free(&mem->super);
}

/* A peer that is there may still read */
static void test_mapped_pages_stay_as_they_are(void **state)
{
    xshm_xen_mem_t *mem = test_send();

    (void)state;

    xshm_xen_mem_free(&mem->super);
    test_release_after(TEST_LONG);
    assert_int_equal(test_ring(mem)[0], TEST_SECRET);
    assert_true(test.num_granted > 0);

    test_unmap(mem);
    test_release_after(0);
    assert_true(test_ring_is_zero(mem));
    test_release_after(TEST_LONG);
    assert_int_equal(test.num_granted, 0);
}

/* Without a channel that would end with it */
static void test_an_end_frees_all(void **state)
{
    xshm_xen_mem_t *mem = test_send();

    (void)state;

    test.domain->num_unproved = XSHM_XEN_MEM_MAX_UNPROVED;
    xshm_xen_mem_free(&mem->super);
    test_change(NULL);
    assert_true(test_release());
    assert_true(test_ring_is_zero(mem));
    assert_true(test.num_granted > 0);

    test.is_gone = 1;
    assert_false(test_release());
    assert_int_equal(test.num_granted, 0);
    /* The next one begins anew */
    assert_int_equal(test.domain->num_unproved, 0);
}

/* Where watches have run out, and nothing is connected */
static void test_an_end_is_looked_for(void **state)
{
    (void)state;

    assert_true(xshm_xen_domain_scan_unused(&test.xen, test.domain, test.now) >
                0);
    test.identity = NULL;
    test.now += 60000;
    assert_true(xshm_xen_domain_scan_unused(&test.xen, test.domain, test.now) >
                0);
    assert_true(test.domain->has_ended);

    test.is_gone = 1;
    assert_false(test_release());
    assert_int_equal(xshm_xen_domain_scan_unused(&test.xen, test.domain,
                                                 test.now),
                     -1);
}

/* A machine can take its node away, and still have all mapped */
static void test_a_seeming_end_frees_nothing(void **state)
{
    xshm_xen_mem_t *mem = test_send();
    long            num_granted;

    (void)state;

    num_granted = test.num_granted;
    xshm_xen_mem_free(&mem->super);
    test_change(NULL);
    test_release_after(TEST_LONG);
    test_change("");
    test_release_after(TEST_LONG);
    test_change(test_one);
    test_release_after(TEST_LONG);
    assert_int_equal(test.num_granted, num_granted);
    assert_false(ucs_list_is_empty(&test.xen.quarantine));

    /* If it ends after that, this is known from the time before */
    test_change(NULL);
    test.is_gone = 1;
    assert_false(test_release());
    assert_int_equal(test.num_granted, 0);
}

/* So fast that the hypervisor has never said that it was gone */
static void test_restart(const char *between)
{
    xshm_xen_mem_t *mem = test_send();

    xshm_xen_mem_free(&mem->super);
    test_change(between);
    test_change(test_other);
    (void)test_release();
    assert_true(ucs_list_is_empty(&test.xen.quarantine));
    assert_true(test_ring_is_zero(mem));

    /* It may have it, as it was when it was new */
    assert_ptr_equal(test_alloc(), mem);
    test_assert_clean(mem);
    assert_false(mem->is_doubtful);
    xshm_xen_mem_free(&mem->super);
    test_release_after(TEST_LONG);
    assert_int_equal(test.num_granted, 0);
}

static void test_another_one_after_an_end(void **state)
{
    (void)state;

    test_restart(NULL);
    assert_true(test.domain->num_unproved > 0);
}

static void test_another_one_at_once(void **state)
{
    (void)state;

    test_restart(test_other);
}

/* Who pretends to be another one, over and over, makes no more be freed than who
 * says that it has unmapped something; and nothing that is not used again */
static void test_pretending_is_bounded(void **state)
{
    xshm_xen_mem_t *mem;
    unsigned        i;

    (void)state;

    for (i = 0; i < 1000; ++i) {
        mem = test_send();
        xshm_xen_mem_free(&mem->super);
        test_change((i % 2) ? test_one : test_other);
        test_release_after(TEST_LONG);
    }

    assert_true(test.domain->num_unproved <= XSHM_XEN_MEM_MAX_UNPROVED);
    assert_int_equal(ucs_list_length(&test.xen.pool), 1);
    assert_true(ucs_list_is_empty(&test.xen.quarantine));
}

static void test_connect(const xshm_xen_dev_addr_t *addr, xshm_xen_mem_t *mem)
{
    xshm_request_t request = {.data_size = TEST_DATA_SIZE};
    xshm_conn_t   *conn;

    assert_int_equal(xshm_xen_connect(&test.xen.super, addr, &request,
                                      &mem->super, NULL, &conn),
                     UCS_OK);
}

/* As if nobody had asked xenstore for it before */
static void test_forget_domain(void)
{
    xshm_xen_domain_cleanup(&test.xen);
    ucs_list_head_init(&test.xen.domains);
    test.domain = xshm_xen_domain_get(&test.xen, TEST_DOMID);
}

static void test_a_request(void **state)
{
    xshm_xen_mem_t *mem = test_alloc();

    (void)state;

    test_forget_domain();
    test_connect(&test_one_addr, mem);
    (void)xshm_xen_scan(&test.xen);
    assert_int_equal(test.num_requests, 1);
    test_change(NULL);
    assert_int_equal(test.num_closed, 1);
    xshm_xen_mem_free(&mem->super);
}

/* Messages may be in the ring already, for a machine that is gone: who has its
 * number is not told where, and the pages are freed at once */
static void test_no_request_to_another_one(void **state)
{
    xshm_xen_mem_t *mem = test_alloc();

    (void)state;

    test_change(test_other);
    test_connect(&test_one_addr, mem);
    (void)xshm_xen_scan(&test.xen);
    assert_int_equal(test.num_closed, 1);
    assert_int_equal(test.num_requests, 0);
    xshm_xen_mem_free(&mem->super);
    assert_int_equal(test.num_granted, 0);
}

static void test_no_request_to_a_stranger(void **state)
{
    xshm_xen_mem_t *mem = test_alloc();

    (void)state;

    test_forget_domain();
    test_connect(&test_other_addr, mem);
    (void)xshm_xen_scan(&test.xen);
    assert_int_equal(test.num_closed, 1);
    assert_int_equal(test.num_requests, 0);
    xshm_xen_mem_free(&mem->super);
}

/* A channel's owner gives its memory back when all is over */
static void test_freed(int is_sure)
{
    xshm_xen_mem_t *mem = test_send();

    test_connect(&test_one_addr, mem);
    (void)xshm_xen_scan(&test.xen);
    assert_int_equal(test.num_closed, 0);
    test_change(NULL);
    assert_int_equal(test.num_closed, 1);
    test.is_gone = is_sure;
    (void)test_release();
    test.is_gone = 0;
    test_change(test_other);

    xshm_xen_mem_free(&mem->super);
    assert_true(test_ring_is_zero(mem));
    test_release_after(0);
    assert_true(ucs_list_is_empty(&test.xen.quarantine));
    assert_int_equal(test.num_granted == 0, is_sure);
    test_release_after(TEST_LONG);
    assert_int_equal(test.num_granted, 0);
}

static void test_freed_long_after_an_end(void **state)
{
    (void)state;

    test_freed(1);
}

static void test_freed_long_after_a_restart(void **state)
{
    (void)state;

    test_freed(0);
}


/* The content of what was freed, as who has its grant sees it */
static int test_region_is_zero(int fd)
{
    void *ptr = mmap(NULL, TEST_LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    int   is_zero;

    assert_ptr_not_equal(ptr, MAP_FAILED);
    is_zero = test_is_zero(ptr, TEST_LENGTH);
    munmap(ptr, TEST_LENGTH);
    return is_zero;
}

static ucs_status_t
test_region_try_alloc(size_t length, xshm_region_t **region_p)
{
    xshm_region_spec_t spec = {.length = length,
                               .rights = XSHM_RIGHT_PUT,
                               .domain = TEST_DOMID,
                               .id     = 1};

    return xshm_xen_region_alloc(&test.xen.super, &spec, region_p);
}

static xshm_region_t *test_region_alloc(void)
{
    xshm_region_t *region;

    assert_int_equal(test_region_try_alloc(TEST_LENGTH, &region), UCS_OK);
    return region;
}

/* @return Its file, which is closed when it is destroyed */
static int test_region_free(xshm_region_t *region)
{
    int fd = region->fd;

    memset(region->address, TEST_SECRET, region->length);
    xshm_xen_region_free(region);
    return fd;
}

static int test_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_region_of_one_that_ended(void **state)
{
    int fd = test_region_free(test_region_alloc());

    (void)state;

    assert_false(test_region_is_zero(fd));
    test_change(NULL);
    assert_true(test_region_is_zero(fd));
    (void)test_release();
    assert_true(test_is_open(fd));
    test.is_gone = 1;
    (void)test_release();
    assert_false(test_is_open(fd));
}

/* Who has come in its place will never say that it has unmapped it */
static void test_region_of_one_that_restarted(void **state)
{
    xshm_region_t *region = test_region_alloc();
    int            fd;

    (void)state;

    test_set_bytes(test.mappers_fd, test.mappers_index, XSHM_ABI_PAGE_SIZE, 1);
    fd = test_region_free(region);
    test_release_after(TEST_LONG);
    test_change(NULL);
    test_release_after(TEST_LONG);
    test_change(test_one);
    test_release_after(TEST_LONG);
    assert_true(test_is_open(fd));

    test_change(test_other);
    test_release_after(TEST_LONG);
    assert_false(test_is_open(fd));
}

/* It is in use when its domain ends */
static void test_region_that_is_freed_later(void **state)
{
    xshm_region_t *region = test_region_alloc();
    int            fd;

    (void)state;

    test_change(NULL);
    assert_int_equal(region->granted, XSHM_ABI_NO_DOMAIN);
    fd = test_region_free(region);
    assert_true(test_region_is_zero(fd));
    test.is_gone = 1;
    (void)test_release();
    assert_false(test_is_open(fd));
}

/* As who has it mapped would, or who says that it has not */
static void test_set_mapped(int value)
{
    test_set_bytes(test.mappers_fd, test.mappers_index, 1, value);
}

/* Allocate and free over and over, for a peer that keeps all of it; if it is
 * one that lies, it says in between that it does not.
 * @return Regions that were allocated. */
static unsigned test_region_cycles(int is_liar)
{
    size_t         length    = TEST_REGION_PAGES * XSHM_ABI_PAGE_SIZE;
    unsigned       num_given = 0;
    xshm_region_t *region;
    ucs_status_t   status;
    unsigned       i;

    for (i = 0; i < TEST_NUM_CYCLES; ++i) {
        status = test_region_try_alloc(length, &region);
        if (status != UCS_OK) {
            assert_int_equal(status, UCS_ERR_UNSUPPORTED);
            continue;
        }

        ++num_given;
        test_set_mapped(1);
        xshm_xen_region_free(region);
        if (is_liar) {
            test_set_mapped(0);
            test_release_after(TEST_LONG);
            test_set_mapped(1);
        }
        test_release_after(TEST_LONG);
    }

    return num_given;
}

/* A peer that never unmaps: bounded, said, and counted */
static void test_regions_never_unmapped(void **state)
{
    uint64_t num_refused = xshm_xen_region_num_refused();
    unsigned num_given, num_lines;

    (void)state;

    xshm_test_log_clear();
    num_given = test_region_cycles(0);
    assert_true(num_given * TEST_ALL_PAGES > TEST_LIMIT / 4);
    assert_true(num_given * TEST_ALL_PAGES <= TEST_MAX_KEPT);
    assert_int_equal(xshm_xen_region_num_refused() - num_refused,
                     TEST_NUM_CYCLES - num_given);
    num_lines = xshm_test_log_count("domain 7 has not unmapped");
    assert_true((num_lines > 0) && (num_lines <= XSHM_COMPLAIN_BURST));
}

/* On its word no more is freed than is said */
static void test_regions_of_a_liar(void **state)
{
    unsigned num_given, num_freed;

    (void)state;

    num_given = test_region_cycles(1) * TEST_ALL_PAGES;
    num_freed = XSHM_XEN_MEM_MAX_UNPROVED;
    assert_true(num_given > TEST_LIMIT / 4 + num_freed - TEST_ALL_PAGES);
    assert_true(num_given <= TEST_MAX_KEPT + num_freed);
}

/* A request that finds no room until it is given up */
static void test_request_without_room(void)
{
    xshm_xen_mem_t *mem = test_alloc();

    test.write_error = ENOSPC;
    test_connect(&test_one_addr, mem);
    (void)xshm_xen_scan(&test.xen);
    test.now += TEST_ASK_MS;
    (void)xshm_xen_scan(&test.xen);
    test.write_error = 0;
    xshm_xen_mem_free(&mem->super);
}

/* One that is written */
static void test_request_with_room(void)
{
    xshm_xen_mem_t *mem = test_alloc();
    unsigned        num = test.num_requests;

    test_connect(&test_one_addr, mem);
    (void)xshm_xen_scan(&test.xen);
    assert_int_equal(test.num_requests, num + 1);
    test.now += TEST_ASK_MS;
    (void)xshm_xen_scan(&test.xen);
    xshm_xen_mem_free(&mem->super);
}

/* One line for each, however many requests that is */
static void test_each_shortage_of_nodes_is_told(void **state)
{
    (void)state;

    test.closed_reason = XSHM_REASON_RESOURCE;
    test_request_without_room();
    test_request_without_room();
    assert_int_equal(xshm_test_log_count("used up its nodes"), 1);
    test.closed_reason = XSHM_REASON_GONE;
    test_request_with_room();
    test.closed_reason = XSHM_REASON_RESOURCE;
    test_request_without_room();
    assert_int_equal(xshm_test_log_count("used up its nodes"), 2);
}

/* Looks as often as the service would in this time. @return How often xenstore was
 * opened. */
static unsigned test_listen_for(uint64_t milliseconds)
{
    uint64_t end = test.now + milliseconds;
    unsigned num = test.num_opened;

    while (test.now < end) {
        if (test.xen.is_deaf && (test.now >= test.xen.next_listen)) {
            xshm_xen_listen_again(&test.xen);
        }
        test.now += XSHM_XEN_LISTEN_MS / 2;
    }

    return test.num_opened - num;
}

/* One line, whatever happens, and fewer and fewer attempts until it works */
static void test_xenstore_that_cannot_be_reached(void **state)
{
    unsigned soon, later;

    (void)state;

    test.open_error = ENOENT;
    xshm_xen_listen_again(&test.xen);
    assert_true(test.xen.is_deaf);
    soon  = test_listen_for(TEST_MINUTE);
    later = test_listen_for(10 * TEST_MINUTE);
    assert_true(soon < 60);
    assert_true((later > 0) && (later < 10 * soon));
    assert_int_equal(xshm_test_log_count("xshm:"), 1);
    assert_int_equal(xshm_test_log_count(strerror(ENOENT)), 1);
    assert_int_equal(xshm_test_log_count("no more watches"), 0);

    test.open_error = 0;
    (void)test_listen_for(TEST_MINUTE);
    assert_false(test.xen.is_deaf);
    assert_int_equal(test_listen_for(TEST_MINUTE), 0);
    test.open_error = ENOENT;
    xshm_xen_listen_again(&test.xen);
    assert_int_equal(xshm_test_log_count("xshm:"), 2);
    /* It is tried again as soon as at first */
    assert_int_equal(test_listen_for(TEST_MINUTE), soon);
}

/* What has to be raised is told where that would help, and only there */
static void test_watches_that_fail(void **state)
{
    (void)state;

    test.watch_error = E2BIG;
    xshm_xen_listen_again(&test.xen);
    assert_int_equal(xshm_test_log_count("no more watches"), 1);
    test.watch_error = 0;
    xshm_xen_listen_again(&test.xen);
    xshm_test_log_clear();

    test.watch_error = EIO;
    xshm_xen_domain_scan_used(&test.xen, test.domain, test.now);
    xshm_xen_domain_scan_used(&test.xen, test.domain, test.now);
    assert_int_equal(xshm_test_log_count("no more watches"), 0);
    /* Of this domain's end, and of all requests */
    assert_int_equal(xshm_test_log_count(strerror(EIO)), 2);
}

#define TEST(_func) \
    cmocka_unit_test_setup_teardown(_func, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
            TEST(test_pages_in_the_pool_are_zero),
            TEST(test_mapped_pages_stay_as_they_are),
            TEST(test_an_end_frees_all),
            TEST(test_an_end_is_looked_for),
            TEST(test_a_seeming_end_frees_nothing),
            TEST(test_another_one_after_an_end),
            TEST(test_another_one_at_once),
            TEST(test_pretending_is_bounded),
            TEST(test_a_request),
            TEST(test_no_request_to_another_one),
            TEST(test_no_request_to_a_stranger),
            TEST(test_freed_long_after_an_end),
            TEST(test_freed_long_after_a_restart),
            TEST(test_region_of_one_that_ended),
            TEST(test_region_of_one_that_restarted),
            TEST(test_region_that_is_freed_later),
            TEST(test_regions_never_unmapped),
            TEST(test_regions_of_a_liar),
            TEST(test_each_shortage_of_nodes_is_told),
            TEST(test_xenstore_that_cannot_be_reached),
            TEST(test_watches_that_fail)};

    xshm_test_log_start();
    return cmocka_run_group_tests_name("xen_reuse", tests, NULL, NULL);
}
