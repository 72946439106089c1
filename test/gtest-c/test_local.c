/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The device "local" against a peer that speaks its protocol by hand, rightly or
 * wrongly.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() and seals */
#endif

#include "test_raw.h"
#include "test_side.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>


#define TEST_SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define TEST_DATA_SEALS (TEST_SIZE_SEALS | F_SEAL_FUTURE_WRITE)
#define TEST_NUM_LEAKS  40


/* The service, and a raw connection to it */
typedef struct test_local {
    xshm_test_side_t side;
    unsigned         start_fds;
    unsigned         open_fds; /* With the service, without connections */
    int              fd;
} test_local_t;


static void test_open(test_local_t *local)
{
    local->start_fds = xshm_test_count_fds();
    xshm_test_side_open(&local->side);
    local->open_fds = xshm_test_count_fds();
    local->fd       = xshm_raw_connect(local->side.platform->process);
}

static void test_close(test_local_t *local)
{
    close(local->fd);
    xshm_test_wait(xshm_test_count_fds() == local->open_fds);
    xshm_test_side_close(&local->side);
    assert_int_equal(xshm_test_count_fds(), local->start_fds);
}

/* Ask with these descriptors; the service must not have kept any of them */
static void test_request(test_local_t *local, const xshm_local_msg_t *request,
                         const xshm_raw_mem_t *mem, xshm_local_msg_t *answer)
{
    int fds[] = {mem->data_fd, mem->return_fd};

    xshm_raw_send(local->fd, request, sizeof(*request), fds, 2);
    xshm_raw_receive(local->fd, answer);
    assert_int_equal(answer->channel, request->channel);
    assert_false(answer->by_sender);
    assert_int_equal(answer->version, XSHM_ABI_VERSION);
}

static void test_expect_refused(test_local_t           *local,
                                const xshm_local_msg_t *request,
                                xshm_raw_mem_t *mem, xshm_reason_t reason)
{
    unsigned         maps = xshm_test_count_shared_maps();
    xshm_local_msg_t answer;

    test_request(local, request, mem, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_REFUSE);
    assert_int_equal(answer.reason, reason);
    xshm_test_side_progress(&local->side);
    assert_int_equal(local->side.num_rx, 0);
    assert_int_equal(xshm_test_count_shared_maps(), maps);
    xshm_raw_mem_free(mem);
    /* The service's end of our socket, and ours */
    xshm_test_wait(xshm_test_count_fds() == local->open_fds + 2);
}

/* What the other tests change in one point is accepted as it is */
static void test_good_request(void **state)
{
    xshm_local_msg_t request, answer;
    xshm_raw_mem_t   mem;
    test_local_t     local;

    test_open(&local);
    xshm_raw_mem_alloc(&mem);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    test_request(&local, &request, &mem, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_ACCEPT);
    xshm_test_side_wait(&local.side, local.side.num_rx == 1);
    assert_int_equal(((xshm_abi_return_t *)local.side.rx[0]->mem->ret)->live,
                     1);

    close(local.fd);
    xshm_test_side_wait(&local.side, local.side.num_rx_gone == 1);
    xshm_test_side_release(&local.side, 0);
    xshm_raw_mem_free(&mem);
    local.fd = xshm_raw_connect(local.side.platform->process);
    test_close(&local);
}

static void test_seals(void **state)
{
    static const struct {
        int data_seals;
        int return_seals;
    } missing[] = {{TEST_DATA_SEALS & ~F_SEAL_SHRINK, TEST_SIZE_SEALS},
                   {TEST_DATA_SEALS & ~F_SEAL_GROW, TEST_SIZE_SEALS},
                   {TEST_DATA_SEALS & ~F_SEAL_FUTURE_WRITE, TEST_SIZE_SEALS},
                   {0, TEST_SIZE_SEALS},
                   {TEST_DATA_SEALS, F_SEAL_GROW},
                   {TEST_DATA_SEALS, F_SEAL_SHRINK},
                   {TEST_DATA_SEALS, 0}};
    xshm_local_msg_t request;
    xshm_raw_mem_t   mem;
    test_local_t     local;
    unsigned         i;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(missing); ++i) {
        mem.data_fd = xshm_raw_memfd(XSHM_RAW_DATA_SIZE, missing[i].data_seals);
        mem.return_fd =
                xshm_raw_memfd(XSHM_ABI_RETURN_SIZE, missing[i].return_seals);
        test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
        assert_int_equal(xshm_test_log_count("seals are"), i + 1);
    }
    test_close(&local);
}

static void test_file_sizes(void **state)
{
    static const struct {
        size_t data_size;
        size_t return_size;
    } wrong[] = {{XSHM_RAW_DATA_SIZE - XSHM_ABI_PAGE_SIZE,
                  XSHM_ABI_RETURN_SIZE},
                 {XSHM_RAW_DATA_SIZE + XSHM_ABI_PAGE_SIZE,
                  XSHM_ABI_RETURN_SIZE},
                 {XSHM_RAW_DATA_SIZE - 1, XSHM_ABI_RETURN_SIZE},
                 {XSHM_RAW_DATA_SIZE, XSHM_ABI_RETURN_SIZE - 1},
                 {XSHM_RAW_DATA_SIZE, 2 * XSHM_ABI_RETURN_SIZE},
                 {XSHM_RAW_DATA_SIZE, 0},
                 {0, XSHM_ABI_RETURN_SIZE}};
    xshm_local_msg_t request;
    xshm_raw_mem_t   mem;
    test_local_t     local;
    unsigned         i;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(wrong); ++i) {
        mem.data_fd   = xshm_raw_memfd(wrong[i].data_size, TEST_DATA_SEALS);
        mem.return_fd = xshm_raw_memfd(wrong[i].return_size, TEST_SIZE_SEALS);
        test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
    }
    test_close(&local);
}

/* The file is as announced, but no channel has that size */
static void test_announced_sizes(void **state)
{
    static const uint32_t wrong[] = {
            0, XSHM_ABI_PAGE_SIZE, XSHM_RAW_DATA_SIZE - 64,
            XSHM_ABI_RING_OFFSET + XSHM_ABI_RING_MAX_SIZE + XSHM_ABI_PAGE_SIZE};
    xshm_local_msg_t request;
    xshm_raw_mem_t   mem;
    test_local_t     local;
    unsigned         i;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(wrong); ++i) {
        mem.data_fd   = xshm_raw_memfd(wrong[i], TEST_DATA_SEALS);
        mem.return_fd = xshm_raw_memfd(XSHM_ABI_RETURN_SIZE, TEST_SIZE_SEALS);
        request.data_size = wrong[i];
        test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
    }
    test_close(&local);
}

/* Announced but not there: later there would be no way to say so */
static void test_sparse(void **state)
{
    xshm_local_msg_t request;
    xshm_raw_mem_t   mem;
    test_local_t     local;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    mem.data_fd   = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    mem.return_fd = xshm_raw_memfd(XSHM_ABI_RETURN_SIZE, TEST_SIZE_SEALS);
    assert_int_equal(ftruncate(mem.data_fd, XSHM_RAW_DATA_SIZE), 0);
    assert_int_equal(fcntl(mem.data_fd, F_ADD_SEALS, TEST_DATA_SEALS), 0);
    test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
    test_close(&local);
}

static void test_no_memory_files(void **state)
{
    xshm_local_msg_t request;
    xshm_raw_mem_t   mem;
    test_local_t     local;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    mem.data_fd   = open("/dev/zero", O_RDWR | O_CLOEXEC);
    mem.return_fd = xshm_raw_memfd(XSHM_ABI_RETURN_SIZE, TEST_SIZE_SEALS);
    test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);

    xshm_raw_mem_alloc(&mem);
    close(mem.return_fd);
    mem.return_fd = eventfd(0, EFD_CLOEXEC);
    test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
    test_close(&local);
}

/* The first page does not say what the file is */
static void test_layout(void **state)
{
    static const size_t fields[] = {offsetof(xshm_abi_data_t, magic),
                                    offsetof(xshm_abi_data_t, version),
                                    offsetof(xshm_abi_data_t, ring_size),
                                    offsetof(xshm_abi_data_t, max_payload),
                                    offsetof(xshm_abi_data_t, num_pages)};
    xshm_abi_data_t     header;
    xshm_local_msg_t    request;
    xshm_raw_mem_t      mem;
    test_local_t        local;
    unsigned            i;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(fields); ++i) {
        xshm_raw_header(&header);
        ++*(uint32_t *)((uint8_t *)&header + fields[i]);
        xshm_raw_mem_alloc_with(&mem, &header);
        test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
        assert_int_equal(xshm_test_log_count("refused a peer's channel"),
                         i + 1);
    }
    test_close(&local);
}

/* The receiver would look there */
static void test_first_line(void **state)
{
    static const uint32_t lines[] = {XSHM_TEST_RING_SIZE / XSHM_ABI_LINE_SIZE,
                                     UINT32_MAX};
    xshm_abi_data_t       header;
    xshm_local_msg_t      request;
    xshm_raw_mem_t        mem;
    test_local_t          local;
    unsigned              i;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(lines); ++i) {
        xshm_raw_header(&header);
        header.first_line = lines[i];
        xshm_raw_mem_alloc_with(&mem, &header);
        test_expect_refused(&local, &request, &mem, XSHM_REASON_INVALID);
    }
    test_close(&local);
}

static void test_wrong_target(void **state)
{
    xshm_local_msg_t  request;
    xshm_iface_addr_t target;
    xshm_raw_mem_t    mem;
    test_local_t      local;

    test_open(&local);
    target = local.side.mailbox->addr;
    target.token[3] ^= 0x10;
    xshm_raw_request(&request, &target);
    xshm_raw_mem_alloc(&mem);
    test_expect_refused(&local, &request, &mem, XSHM_REASON_UNKNOWN);
    assert_int_equal(local.side.mailbox->num_refused, 1);

    target = local.side.mailbox->addr;
    target.iface += 1;
    xshm_raw_request(&request, &target);
    xshm_raw_mem_alloc(&mem);
    test_expect_refused(&local, &request, &mem, XSHM_REASON_UNKNOWN);

    target = local.side.mailbox->addr;
    target.process += 1;
    xshm_raw_request(&request, &target);
    xshm_raw_mem_alloc(&mem);
    test_expect_refused(&local, &request, &mem, XSHM_REASON_UNKNOWN);
    assert_int_equal(local.side.mailbox->num_refused, 1);
    test_close(&local);
}

/* Another version: of its message, only the first three words are the same */
static void test_expect_version(size_t length)
{
    union {
        xshm_local_msg_t msg;
        uint8_t          bytes[2 * sizeof(xshm_local_msg_t)];
    } request;
    xshm_local_msg_t answer;
    test_local_t     local;

    memset(&request, 0xa5, sizeof(request));
    test_open(&local);
    xshm_raw_request(&request.msg, &local.side.mailbox->addr);
    request.msg.version = XSHM_ABI_VERSION + 1;
    xshm_raw_send(local.fd, &request, length, NULL, 0);
    xshm_raw_receive(local.fd, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_REFUSE);
    assert_int_equal(answer.reason, XSHM_REASON_VERSION);
    assert_int_equal(answer.version, XSHM_ABI_VERSION);
    assert_true(xshm_raw_is_closed(local.fd));
    assert_int_equal(xshm_test_log_count("uses version 3 of the shared layout, "
                                         "and this process version 2"),
                     1);
    test_close(&local);
}

static void test_other_version(void **state)
{
    test_expect_version(sizeof(xshm_local_msg_t));
}

static void test_other_version_short(void **state)
{
    test_expect_version(offsetof(xshm_local_msg_t, reason));
}

static void test_other_version_long(void **state)
{
    test_expect_version(2 * sizeof(xshm_local_msg_t));
}

/* A name that nobody has, not even the same test that runs at the same time */
static uint64_t test_new_process(void)
{
    static uint32_t count;

    return ((uint64_t)getpid() << 32) | ++count;
}

/* We ask a raw peer */
static xshm_tx_t *test_ask(test_local_t *local, uint64_t process)
{
    xshm_iface_addr_t target = local->side.mailbox->addr;

    target.process = process;
    return xshm_test_tx_open(&local->side, &target);
}

/* Take its request, and note what it was */
static int test_take_request(int listener, xshm_local_msg_t *request)
{
    int fd = xshm_raw_accept(listener);

    xshm_raw_receive(fd, request);
    assert_int_equal(request->type, XSHM_LOCAL_MSG_HELLO);
    xshm_raw_receive(fd, request);
    assert_int_equal(request->type, XSHM_LOCAL_MSG_REQUEST);
    return fd;
}

/* The other way round: the peer refuses ours */
static void test_refused_for_version(void **state)
{
    uint64_t         process = test_new_process();
    xshm_local_msg_t msg;
    test_local_t     local;
    int              listener, fd;
    xshm_tx_t       *tx;

    test_open(&local);
    listener = xshm_raw_listen(process);
    tx       = test_ask(&local, process);
    fd       = test_take_request(listener, &msg);
    assert_int_equal(msg.version, XSHM_ABI_VERSION);

    msg = (xshm_local_msg_t){.magic   = XSHM_LOCAL_MAGIC,
                             .version = XSHM_ABI_VERSION + 1,
                             .type    = XSHM_LOCAL_MSG_REFUSE,
                             .reason  = XSHM_REASON_VERSION};
    xshm_raw_send(fd, &msg, sizeof(msg), NULL, 0);
    xshm_test_side_wait(&local.side, local.side.num_tx_gone == 1);
    xshm_tx_log_failure(tx);
    assert_int_not_equal(xshm_test_log_count("uses version 3 of the shared "
                                             "layout, and this process version "
                                             "2"),
                         0);
    assert_true(xshm_raw_is_closed(fd));
    xshm_tx_close(tx);
    close(fd);
    close(listener);
    test_close(&local);
}

/* Whatever reason a peer gives, the channel ends in the end, and is freed. Returns
 * how often the peer was asked. */
static unsigned test_refused_with(uint32_t reason)
{
    unsigned         maps    = xshm_test_count_shared_maps();
    uint64_t         process = test_new_process();
    unsigned         count   = 0;
    xshm_local_msg_t msg;
    test_local_t     local;
    int              listener, fd;
    xshm_tx_t       *tx;

    test_open(&local);
    listener = xshm_raw_listen(process);
    tx       = test_ask(&local, process);
    do {
        fd            = test_take_request(listener, &msg);
        msg.type      = XSHM_LOCAL_MSG_REFUSE;
        msg.by_sender = 0;
        msg.reason    = reason;
        xshm_raw_send(fd, &msg, sizeof(msg), NULL, 0);
        ++count;
        xshm_test_side_wait(&local.side, (local.side.num_tx_gone ==
                                          1) || xshm_raw_is_readable(listener));
        close(fd);
    } while (local.side.num_tx_gone == 0);

    close(listener);
    xshm_tx_log_failure(tx);
    xshm_tx_close(tx);
    xshm_test_wait(xshm_test_count_shared_maps() == maps);
    test_close(&local);
    return count;
}

/* It may have room a little later: it is asked again, but not for ever */
static void test_reason_resource(void **state)
{
    uint64_t         process = test_new_process();
    xshm_local_msg_t msg, again;
    test_local_t     local;
    int              listener, fd;
    xshm_tx_t       *tx;

    test_open(&local);
    listener = xshm_raw_listen(process);
    tx       = test_ask(&local, process);
    fd       = test_take_request(listener, &msg);
    again    = msg;

    msg.type      = XSHM_LOCAL_MSG_REFUSE;
    msg.by_sender = 0;
    msg.reason    = XSHM_REASON_RESOURCE;
    xshm_raw_send(fd, &msg, sizeof(msg), NULL, 0);
    close(fd);

    fd = test_take_request(listener, &msg);
    assert_int_equal(msg.channel, again.channel);
    msg.type      = XSHM_LOCAL_MSG_REFUSE;
    msg.by_sender = 0;
    msg.reason    = XSHM_REASON_INVALID;
    xshm_raw_send(fd, &msg, sizeof(msg), NULL, 0);
    xshm_test_side_wait(&local.side, local.side.num_tx_gone == 1);
    xshm_tx_close(tx);
    close(fd);
    close(listener);
    test_close(&local);
}

static void test_reason_invalid(void **state)
{
    assert_int_equal(test_refused_with(XSHM_REASON_INVALID), 1);
}

static void test_reason_none(void **state)
{
    assert_int_equal(test_refused_with(XSHM_REASON_NONE), 1);
}

static void test_reason_unknown(void **state)
{
    assert_int_equal(test_refused_with(UINT32_MAX), 1);
}

/* A peer that hangs up on every request is not asked all the time */
static void test_hang_up(void **state)
{
    uint64_t         process = test_new_process();
    unsigned         count   = 0;
    xshm_local_msg_t msg;
    test_local_t     local;
    int              listener, fd;
    double           end;
    xshm_tx_t       *tx;

    test_open(&local);
    listener = xshm_raw_listen(process);
    tx       = test_ask(&local, process);
    end      = xshm_test_now() + 0.2;
    while ((local.side.num_tx_gone == 0) && (xshm_test_now() < end)) {
        fd = test_take_request(listener, &msg);
        close(fd);
        ++count;
        xshm_test_side_progress(&local.side);
    }

    close(listener);
    assert_true(count < 50);
    xshm_test_side_wait(&local.side, local.side.num_tx_gone == 1);
    xshm_tx_close(tx);
    test_close(&local);
}

/* What is no message of ours ends the connection, and nothing else */
static void test_expect_closed(const void *data, size_t length, const int *fds,
                               unsigned num_fds)
{
    test_local_t local;

    test_open(&local);
    xshm_raw_send(local.fd, data, length, fds, num_fds);
    assert_true(xshm_raw_is_closed(local.fd));
    test_close(&local);
}

static void test_malformed(void **state)
{
    static const size_t lengths[]    = {1,
                                        4,
                                        12,
                                        sizeof(xshm_local_msg_t) - 1,
                                        sizeof(xshm_local_msg_t) + 1,
                                        4096};
    xshm_iface_addr_t   target       = {.version = XSHM_ABI_VERSION};
    uint8_t             buffer[4096] = {0};
    xshm_local_msg_t   *msg          = (xshm_local_msg_t *)buffer;
    unsigned            i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(lengths); ++i) {
        xshm_raw_request(msg, &target);
        msg->type = XSHM_LOCAL_MSG_HELLO;
        test_expect_closed(buffer, lengths[i], NULL, 0);
    }

    msg->magic ^= 1;
    test_expect_closed(msg, sizeof(*msg), NULL, 0);
}

/* A request whose descriptors are missing is none */
static void test_request_without_fds(void **state)
{
    int               fds[1] = {0};
    xshm_iface_addr_t target = {.version = XSHM_ABI_VERSION};
    xshm_local_msg_t  msg;

    xshm_raw_request(&msg, &target);
    test_expect_closed(&msg, sizeof(msg), fds, 0);
    test_expect_closed(&msg, sizeof(msg), fds, 1);
    assert_int_equal(xshm_test_log_count("ulimit -n"), 0);
}

/* Does the kernel drop descriptors that come when there may be no more? Valgrind
 * keeps a limit of its own, and does not tell the kernel. */
static int test_kernel_drops_fds(void)
{
    int           pair[2], fds[2] = {0, 0};
    char          control[CMSG_SPACE(sizeof(fds))];
    char          byte   = 0;
    struct iovec  iov    = {.iov_base = &byte, .iov_len = sizeof(byte)};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = control,
                            .msg_controllen = sizeof(control)};
    struct rlimit old, limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    limit          = old;
    limit.rlim_cur = 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    xshm_raw_send(pair[0], &byte, sizeof(byte), fds, 2);
    assert_int_equal(recvmsg(pair[1], &header, 0), sizeof(byte));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    close(pair[0]);
    close(pair[1]);
    if (header.msg_flags & MSG_CTRUNC) {
        return 1;
    }

    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fds));
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* But if the kernel has dropped them, because there were none left, it is refused.
 * The connection stays, for its channels. */
static void test_request_with_dropped_fds(void **state)
{
    int              fds[2] = {0, 0};
    struct rlimit    old, limit;
    xshm_local_msg_t request, answer;
    test_local_t     local;
    unsigned         i;

    if (!test_kernel_drops_fds()) {
        skip();
    }

    test_open(&local);
    xshm_test_wait(xshm_test_count_fds() == local.open_fds + 2);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit          = old;
    limit.rlim_cur = 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    for (i = 0; i < 2; ++i) {
        xshm_raw_send(local.fd, &request, sizeof(request), fds, 2);
        xshm_raw_receive(local.fd, &answer);
        assert_int_equal(answer.type, XSHM_LOCAL_MSG_REFUSE);
        assert_int_equal(answer.reason, XSHM_REASON_RESOURCE);
        assert_int_equal(answer.channel, request.channel);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(xshm_test_log_count("ulimit -n"), 1);
    xshm_test_wait(xshm_test_count_fds() == local.open_fds + 2);
    test_close(&local);
}

/* Only a channel's sender may ask for it */
static void test_request_by_receiver(void **state)
{
    int               fds[2] = {0, 0};
    xshm_iface_addr_t target = {.version = XSHM_ABI_VERSION};
    xshm_local_msg_t  msg;

    xshm_raw_request(&msg, &target);
    msg.by_sender = 0;
    test_expect_closed(&msg, sizeof(msg), fds, 2);
}

/* Descriptors that come with something else are closed again */
static void test_unwanted_fds(void **state)
{
    int              fds[3] = {0, 0, 0};
    xshm_local_msg_t msg    = {.magic   = XSHM_LOCAL_MAGIC,
                               .version = XSHM_ABI_VERSION,
                               .type    = XSHM_LOCAL_MSG_CLOSE};
    test_local_t     local;
    unsigned         i;

    test_open(&local);
    for (i = 0; i < TEST_NUM_LEAKS; ++i) {
        xshm_raw_send(local.fd, &msg, sizeof(msg), fds, 1 + (i % 3));
    }
    xshm_test_wait(xshm_test_count_fds() == local.open_fds + 2);
    test_close(&local);
}

/* Also those of a packet without any bytes */
static void test_empty_packet_with_fds(void **state)
{
    int fds[2] = {0, 0};

    test_expect_closed("", 0, fds, 2);
}

static void test_same_channel_twice(void **state)
{
    xshm_local_msg_t request, answer;
    xshm_raw_mem_t   mem;
    test_local_t     local;
    int              fds[2];

    test_open(&local);
    xshm_raw_mem_alloc(&mem);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    test_request(&local, &request, &mem, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_ACCEPT);

    fds[0] = mem.data_fd;
    fds[1] = mem.return_fd;
    xshm_raw_send(local.fd, &request, sizeof(request), fds, 2);
    assert_true(xshm_raw_is_closed(local.fd));
    xshm_test_side_wait(&local.side, local.side.num_rx_gone == 1);
    assert_int_equal(local.side.num_rx, 1);
    xshm_test_side_release(&local.side, 0);
    xshm_raw_mem_free(&mem);
    test_close(&local);
}

/* Messages about channels that are not there change nothing */
static void test_unknown_channel(void **state)
{
    xshm_local_msg_t request, answer;
    xshm_raw_mem_t   mem;
    test_local_t     local;
    uint32_t         type;

    test_open(&local);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    /* MAP is answered, and REGION ends the link: see test_rma_local.c */
    for (type = 0; type < 100; ++type) {
        if ((type != XSHM_LOCAL_MSG_REQUEST) && (type != XSHM_LOCAL_MSG_MAP) &&
            (type != XSHM_LOCAL_MSG_REGION)) {
            request.type      = type;
            request.by_sender = type & 1;
            xshm_raw_send(local.fd, &request, sizeof(request), NULL, 0);
        }
    }

    xshm_raw_mem_alloc(&mem);
    xshm_raw_request(&request, &local.side.mailbox->addr);
    test_request(&local, &request, &mem, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_ACCEPT);
    xshm_raw_mem_free(&mem);
    xshm_test_side_wait(&local.side, local.side.num_rx == 1);
    xshm_test_side_release(&local.side, 0);
    test_close(&local);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_good_request),
            cmocka_unit_test(test_seals),
            cmocka_unit_test(test_file_sizes),
            cmocka_unit_test(test_announced_sizes),
            cmocka_unit_test(test_sparse),
            cmocka_unit_test(test_no_memory_files),
            cmocka_unit_test(test_layout),
            cmocka_unit_test(test_first_line),
            cmocka_unit_test(test_wrong_target),
            cmocka_unit_test(test_other_version),
            cmocka_unit_test(test_other_version_short),
            cmocka_unit_test(test_other_version_long),
            cmocka_unit_test(test_refused_for_version),
            cmocka_unit_test(test_reason_invalid),
            cmocka_unit_test(test_reason_resource),
            cmocka_unit_test(test_reason_none),
            cmocka_unit_test(test_reason_unknown),
            cmocka_unit_test(test_hang_up),
            cmocka_unit_test(test_malformed),
            cmocka_unit_test(test_request_without_fds),
            cmocka_unit_test(test_request_with_dropped_fds),
            cmocka_unit_test(test_request_by_receiver),
            cmocka_unit_test(test_unwanted_fds),
            cmocka_unit_test(test_empty_packet_with_fds),
            cmocka_unit_test(test_same_channel_twice),
            cmocka_unit_test(test_unknown_channel)};

    xshm_test_log_start();
    xshm_test_reset = xshm_service_stop;
    return xshm_test_run_on_devices("local", tests,
                                    XSHM_TEST_ARRAY_SIZE(tests));
}
