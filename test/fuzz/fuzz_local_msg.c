/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The running service of the device "local", and a peer that sends it anything,
 * with and without descriptors, and writes anything into the start of the data
 * pages that it offers: layout, and lines for waking up. The peer is also asked
 * for memory that it owns, and there is memory that it can ask for. After each
 * input the service must still answer, and have closed all that the input opened.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() and seals */
#endif

#include "fuzz_input.h"

#include <uct/xshm/channel/rx.h>
#include <uct/xshm/memory/registry.h>
#include <uct/xshm/memory/view.h>
#include <uct/xshm/platform/fdset.h>
#include <uct/xshm/platform/local/local.h>
#include <uct/xshm/platform/local/local_wire.h>

#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>


#define FUZZ_DATA_SIZE   (XSHM_ABI_RING_OFFSET + XSHM_ABI_RING_MIN_SIZE)
#define FUZZ_MAX_FDS     3
#define FUZZ_MAX_PACKETS 16
#define FUZZ_PACKET_MAX  (2 * sizeof(xshm_local_msg_t))
#define FUZZ_ANSWER_MSEC 30000
#define FUZZ_CLEAN_TRIES 30000
#define FUZZ_CLEAN_USEC  500

/* Memory of the peer that it is asked for, of a process of its own name */
#define FUZZ_PROCESS 0x66757a7aul
#define FUZZ_SLOT    6
#define FUZZ_ID      5
#define FUZZ_BASE    0x7000000ul


enum {
    FUZZ_PACKET_RAW     = 1 << 0, /* Not even the first words are right */
    FUZZ_PACKET_TARGET  = 1 << 1, /* For our interface, with its token */
    FUZZ_PACKET_GOOD_FD = 1 << 2, /* The right descriptors */
    FUZZ_PACKET_LENGTH  = 1 << 3, /* Another length */
    FUZZ_PACKET_LAYOUT  = 1 << 4, /* Write another layout before */
    FUZZ_PACKET_WAKE    = 1 << 5, /* Write the line for waking up before */
    FUZZ_PACKET_BELL    = 1 << 6, /* With what can wake us */
    FUZZ_PACKET_MEMORY  = 1 << 7  /* About memory that there is */
};


static xshm_mailbox_t  *fuzz_mailbox;
static int              fuzz_good_fds[XSHM_LOCAL_NUM_FDS];
static xshm_abi_data_t *fuzz_data; /* Start of the data pages */
static xshm_abi_data_t  fuzz_good_data;
static int              fuzz_bell_fds[2];
static int              fuzz_bad_fd;
static unsigned         fuzz_num_fds;
static int              fuzz_free_fd; /* The lowest number that is not in use */
static int              fuzz_listener; /* The peer's */
static int              fuzz_region_fd;
static xshm_reg_t      *fuzz_reg;    /* Memory that the peer may ask for */
static xshm_view_t     *fuzz_view;   /* What the peer is asked for */
static uint64_t         fuzz_region; /* Its name */


static ucs_log_func_rc_t
fuzz_log_handler(const char *file, unsigned line, const char *function,
                 ucs_log_level_t                   level,
                 const ucs_log_component_config_t *component,
                 const char *message, va_list ap)
{
    return UCS_LOG_FUNC_RC_STOP;
}

/* Mapped by us before it is sealed against that */
static int fuzz_memfd(size_t size, int seals, void **start_p)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    fuzz_check((fd >= 0) && (posix_fallocate(fd, 0, size) == 0));
    *start_p = mmap(NULL, XSHM_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE,
                    MAP_SHARED, fd, 0);
    fuzz_check(*start_p != MAP_FAILED);
    fuzz_check(fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int fuzz_lowest_free_fd(void)
{
    int fd = dup(fuzz_bad_fd);

    fuzz_check(fd >= 0);
    close(fd);
    return fd;
}

static void fuzz_start_memory(void)
{
    xshm_region_spec_t spec = {.length = FUZZ_DATA_SIZE,
                               .rights = XSHM_RIGHT_ALL,
                               .domain = XSHM_DOMAIN_SAME};
    struct sockaddr_un sockaddr;
    socklen_t          length;
    void              *start;

    fuzz_check(xshm_reg_alloc(&xshm_local_ops, &spec, &fuzz_reg) == UCS_OK);
    fuzz_region_fd =
            fuzz_memfd(FUZZ_DATA_SIZE, F_SEAL_SHRINK | F_SEAL_GROW, &start);
    fuzz_listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    length        = xshm_local_sockaddr(geteuid(), FUZZ_PROCESS, &sockaddr);
    fuzz_check(bind(fuzz_listener, (struct sockaddr *)&sockaddr, length) == 0);
    fuzz_check(listen(fuzz_listener, 1) == 0);
}

static void fuzz_start(void)
{
    const int       size_seals = F_SEAL_SHRINK | F_SEAL_GROW;
    xshm_abi_data_t header     = {.magic       = XSHM_ABI_MAGIC,
                                  .version     = XSHM_ABI_VERSION,
                                  .ring_size   = XSHM_ABI_RING_MIN_SIZE,
                                  .max_payload = 64,
                                  .num_pages = FUZZ_DATA_SIZE / XSHM_ABI_PAGE_SIZE};
    void           *ret;

    ucs_log_push_handler(fuzz_log_handler);
    fuzz_check(xshm_service_start() == UCS_OK);
    fuzz_check(xshm_mailbox_create(xshm_service_platform(&xshm_local_ops), NULL,
                                   &fuzz_mailbox) == UCS_OK);
    fuzz_good_data = header;
    fuzz_good_fds[0] =
            fuzz_memfd(FUZZ_DATA_SIZE, size_seals | F_SEAL_FUTURE_WRITE,
                       (void **)&fuzz_data);
    fuzz_good_fds[1] = fuzz_memfd(XSHM_ABI_RETURN_SIZE, size_seals, &ret);
    fuzz_check(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
                          fuzz_bell_fds) == 0);
    fuzz_bad_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    fuzz_start_memory();
    fuzz_num_fds = xshm_fdset_count();
    fuzz_free_fd = fuzz_lowest_free_fd();
}

static int fuzz_connect(void)
{
    struct sockaddr_un sockaddr;
    socklen_t          length;
    int                fd;

    fd     = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    length = xshm_local_sockaddr(geteuid(), fuzz_mailbox->addr.process,
                                 &sockaddr);
    fuzz_check(connect(fd, (struct sockaddr *)&sockaddr, length) == 0);
    return fd;
}

static void fuzz_send(int fd, const void *data, size_t length, const int *fds,
                      unsigned num_fds)
{
    union {
        struct cmsghdr header;
        char           buffer[CMSG_SPACE(sizeof(int) * FUZZ_MAX_FDS)];
    } control            = {{0}};
    struct iovec  iov    = {.iov_base = (void *)data, .iov_len = length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (num_fds > 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type  = SCM_RIGHTS;
        control.header.cmsg_len   = CMSG_LEN(sizeof(int) * num_fds);
        memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * num_fds);
        header.msg_control    = control.buffer;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * num_fds);
    }

    /* The service may have hung up already */
    (void)!sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void fuzz_write_data(fuzz_input_t *input, size_t offset, size_t size)
{
    uint8_t *bytes = (uint8_t *)fuzz_data + offset;
    size_t   i;

    for (i = 0; i < size; ++i) {
        bytes[i] ^= (uint8_t)fuzz_take(input, 1);
    }
}

static void fuzz_write(fuzz_input_t *input, unsigned flags)
{
    if (flags & FUZZ_PACKET_LAYOUT) {
        fuzz_write_data(input, 0, offsetof(xshm_abi_data_t, unused0));
    }

    if (flags & FUZZ_PACKET_WAKE) {
        fuzz_write_data(input, offsetof(xshm_abi_data_t, wake),
                        offsetof(xshm_abi_wake_t, unused));
    }
}

/* Let the service ask the peer. @return The socket by which it does. */
static int fuzz_ask(void)
{
    xshm_platform_t *platform = xshm_service_platform(&xshm_local_ops);
    xshm_abi_key_t   key      = {.process = FUZZ_PROCESS,
                                 .region  = ++fuzz_region,
                                 .slot    = FUZZ_SLOT,
                                 .id      = FUZZ_ID};
    struct pollfd    pollfd   = {.fd = fuzz_listener, .events = POLLIN};
    uint8_t          dev_addr[XSHM_DEV_ADDR_MAX];
    int              fd;

    platform->ops->get_dev_addr(platform, dev_addr);
    fuzz_view = xshm_view_get(&key, XSHM_DOMAIN_SAME);
    xshm_view_ask(fuzz_view, platform, dev_addr, &key);
    fuzz_check(poll(&pollfd, 1, FUZZ_ANSWER_MSEC) == 1);
    fd = accept4(fuzz_listener, NULL, NULL, SOCK_CLOEXEC);
    fuzz_check(fd >= 0);
    return fd;
}

/* What was mapped is all there: reading it is no SIGBUS */
static void fuzz_end_ask(void)
{
    const xshm_region_info_t *info = &fuzz_view->info;

    if (xshm_view_state(fuzz_view) == XSHM_VIEW_MAPPED) {
        fuzz_check((info->length > 0) && (info->region == fuzz_region));
        fuzz_check(info->base + info->length >= info->base);
        fuzz_check(!(info->rights & ~(unsigned)XSHM_RIGHT_ALL));
        (void)*(volatile char *)info->address;
        (void)((volatile char *)info->address)[info->length - 1];
    }

    xshm_view_put(fuzz_view);
}

/* The right answer to the question, or a question for what there is, of which
 * the input may change a part */
static void fuzz_make_memory(fuzz_input_t *input, xshm_local_msg_t *msg)
{
    unsigned how = (unsigned)fuzz_take(input, 1);

    if ((how % 4) == 0) {
        msg->type = XSHM_LOCAL_MSG_MAP;
        msg->slot = fuzz_reg->slot;
        msg->id   = fuzz_reg->id;
    } else {
        msg->type   = XSHM_LOCAL_MSG_REGION;
        msg->slot   = FUZZ_SLOT;
        msg->id     = FUZZ_ID;
        msg->region = fuzz_region;
        msg->base   = FUZZ_BASE;
        msg->length = FUZZ_DATA_SIZE;
        msg->rights = XSHM_RIGHT_ALL;
    }

    switch ((how / 4) % 16) {
    case 0:
        msg->slot ^= (uint32_t)fuzz_take(input, 1);
        break;
    case 1:
        msg->id ^= fuzz_take(input, 1);
        break;
    case 2:
        msg->region ^= fuzz_take(input, 1);
        break;
    case 3:
        msg->base = ~fuzz_take(input, 2);
        break;
    case 4:
        msg->length = fuzz_take(input, 3);
        break;
    case 5:
        msg->rights = (uint32_t)fuzz_take(input, 1);
        break;
    default:
        break;
    }
}

static void fuzz_send_packet(int fd, int owner_fd, fuzz_input_t *input)
{
    union {
        xshm_local_msg_t msg;
        uint8_t          bytes[FUZZ_PACKET_MAX];
    } packet        = {{0}};
    unsigned flags  = (unsigned)fuzz_take(input, 1);
    unsigned count  = (unsigned)fuzz_take(input, 1) % (FUZZ_MAX_FDS + 1);
    size_t   length = sizeof(packet.msg);
    int      fds[]  = {fuzz_good_fds[0], fuzz_good_fds[1], fuzz_bad_fd};
    size_t   i;

    for (i = 0; i < FUZZ_PACKET_MAX; ++i) {
        packet.bytes[i] =
                (i < sizeof(packet.msg)) ? (uint8_t)fuzz_take(input, 1) : 0;
    }

    if (!(flags & FUZZ_PACKET_RAW)) {
        packet.msg.magic   = XSHM_LOCAL_MAGIC;
        packet.msg.version = XSHM_ABI_VERSION;
        packet.msg.type %= XSHM_LOCAL_MSG_FORGET + 2;
        packet.msg.channel %= 4;
        packet.msg.by_sender %= 2;
    }

    if (flags & FUZZ_PACKET_TARGET) {
        memcpy(packet.msg.target, &fuzz_mailbox->addr,
               sizeof(fuzz_mailbox->addr));
        packet.msg.data_size = FUZZ_DATA_SIZE;
    }

    if (!(flags & FUZZ_PACKET_GOOD_FD)) {
        fds[flags % 2] = fuzz_bad_fd;
    }

    if (flags & FUZZ_PACKET_BELL) {
        fds[0] = fuzz_bell_fds[0];
    }

    if (flags & FUZZ_PACKET_MEMORY) {
        fuzz_make_memory(input, &packet.msg);
        fds[0] = (flags & FUZZ_PACKET_GOOD_FD) ? fuzz_region_fd : fds[0];
        fd     = (packet.msg.type == XSHM_LOCAL_MSG_REGION) ? owner_fd : fd;
    }

    fuzz_write(input, flags);
    if (flags & FUZZ_PACKET_LENGTH) {
        length = (size_t)fuzz_take(input, 1) % FUZZ_PACKET_MAX;
    }

    fuzz_send(fd, &packet, length, fds, count);
}

/* As an interface does, but without looking into the rings */
static void fuzz_take_events(void)
{
    xshm_event_t *event;
    unsigned      flags;
    xshm_rx_t    *rx;

    while ((flags = xshm_mailbox_take(fuzz_mailbox, &event)) != 0) {
        fuzz_check((flags & ~(XSHM_EVENT_RX_NEW | XSHM_EVENT_RX_GONE)) == 0);
        rx = ucs_container_of(event, xshm_rx_t, event);
        xshm_rx_handle_event(rx, flags);
        if (rx->is_gone) {
            xshm_rx_release(rx);
        }
    }
}

/* The service gets to this packet after all those before */
static void fuzz_expect_answer(void)
{
    xshm_local_msg_t msg    = {.magic     = XSHM_LOCAL_MAGIC,
                               .version   = XSHM_ABI_VERSION,
                               .type      = XSHM_LOCAL_MSG_REQUEST,
                               .by_sender = 1};
    struct pollfd    pollfd = {.events = POLLIN};

    pollfd.fd = fuzz_connect();
    fuzz_send(pollfd.fd, &msg, sizeof(msg), fuzz_good_fds, XSHM_LOCAL_NUM_FDS);
    fuzz_check(poll(&pollfd, 1, FUZZ_ANSWER_MSEC) == 1);
    fuzz_check(recv(pollfd.fd, &msg, sizeof(msg), 0) == sizeof(msg));
    fuzz_check(msg.type == XSHM_LOCAL_MSG_REFUSE);
    close(pollfd.fd);
}

/* All that was accepted is given up by the service in a while */
static void fuzz_expect_clean(void)
{
    int i;

    for (i = 0; (xshm_fdset_count() > fuzz_num_fds) ||
                (fuzz_lowest_free_fd() > fuzz_free_fd);
         ++i) {
        fuzz_check(i < FUZZ_CLEAN_TRIES);
        fuzz_take_events();
        if (i > 0) {
            usleep(FUZZ_CLEAN_USEC);
        }
    }

    fuzz_take_events();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    int          fd, owner_fd, i;

    if (fuzz_mailbox == NULL) {
        fuzz_start();
    }

    *fuzz_data = fuzz_good_data;
    fd         = fuzz_connect();
    owner_fd   = fuzz_ask();
    for (i = 0; (input.size > 0) && (i < FUZZ_MAX_PACKETS); ++i) {
        fuzz_send_packet(fd, owner_fd, &input);
        fuzz_take_events();
    }

    fuzz_expect_answer();
    fuzz_end_ask();
    close(fd);
    close(owner_fd);
    fuzz_expect_clean();
    return 0;
}
