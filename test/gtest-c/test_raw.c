/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() and seals */
#endif

#include "test_raw.h"
#include "test_util.h"

#include <uct/xshm/ring/ring.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>


#define RAW_MAX_FDS      8
#define RAW_BACKLOG      8
#define RAW_CHANNEL      5
#define RAW_TIMEOUT_MSEC 60000


static int xshm_raw_socket(uint64_t process, struct sockaddr_un *sockaddr,
                           socklen_t *length)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    xshm_test_check(fd >= 0);
    *length = xshm_local_sockaddr(geteuid(), process, sockaddr);
    return fd;
}

int xshm_raw_connect(uint64_t process)
{
    struct sockaddr_un sockaddr;
    socklen_t          length;
    int                fd;

    fd = xshm_raw_socket(process, &sockaddr, &length);
    xshm_test_check(connect(fd, (struct sockaddr *)&sockaddr, length) == 0);
    return fd;
}

int xshm_raw_listen(uint64_t process)
{
    struct sockaddr_un sockaddr;
    socklen_t          length;
    int                fd;

    fd = xshm_raw_socket(process, &sockaddr, &length);
    xshm_test_check(bind(fd, (struct sockaddr *)&sockaddr, length) == 0);
    xshm_test_check(listen(fd, RAW_BACKLOG) == 0);
    return fd;
}

static void xshm_raw_wait(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    xshm_test_check(poll(&pollfd, 1, RAW_TIMEOUT_MSEC) == 1);
}

int xshm_raw_is_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

int xshm_raw_accept(int listener)
{
    int fd;

    xshm_raw_wait(listener);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    xshm_test_check(fd >= 0);
    return fd;
}

void xshm_raw_send(int fd, const void *data, size_t length, const int *fds,
                   unsigned num_fds)
{
    union {
        struct cmsghdr header;
        char           buffer[CMSG_SPACE(sizeof(int) * RAW_MAX_FDS)];
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

    xshm_test_check(sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)length);
}

void xshm_raw_receive(int fd, xshm_local_msg_t *msg)
{
    xshm_raw_wait(fd);
    xshm_test_check(recv(fd, msg, sizeof(*msg), 0) == sizeof(*msg));
    xshm_test_check(msg->magic == XSHM_LOCAL_MAGIC);
}

int xshm_raw_is_closed(int fd)
{
    xshm_local_msg_t msg;

    do {
        xshm_raw_wait(fd);
    } while (recv(fd, &msg, sizeof(msg), 0) > 0);
    return 1;
}

void xshm_raw_request(xshm_local_msg_t *msg, const xshm_iface_addr_t *target)
{
    *msg = (xshm_local_msg_t){.magic     = XSHM_LOCAL_MAGIC,
                              .version   = XSHM_ABI_VERSION,
                              .type      = XSHM_LOCAL_MSG_REQUEST,
                              .channel   = RAW_CHANNEL,
                              .by_sender = 1,
                              .data_size = XSHM_RAW_DATA_SIZE};
    memcpy(msg->target, target, sizeof(*target));
}

void xshm_raw_header(xshm_abi_data_t *header)
{
    *header = (xshm_abi_data_t){.magic       = XSHM_ABI_MAGIC,
                                .version     = XSHM_ABI_VERSION,
                                .ring_size   = XSHM_RAW_RING_SIZE,
                                .max_payload = (uint32_t)xshm_ring_max_payload(
                                        XSHM_RAW_RING_SIZE),
                                .num_pages =
                                        XSHM_RAW_DATA_SIZE / XSHM_ABI_PAGE_SIZE,
                                .live = 1};
}

static int
xshm_raw_memfd_with(size_t size, int seals, const xshm_abi_data_t *header)
{
    int fd = memfd_create("raw", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    xshm_test_check(fd >= 0);
    xshm_test_check((size == 0) || (posix_fallocate(fd, 0, size) == 0));
    if (size >= sizeof(*header)) {
        xshm_test_check(pwrite(fd, header, sizeof(*header), 0) ==
                        sizeof(*header));
    }
    xshm_test_check(fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

int xshm_raw_memfd(size_t size, int seals)
{
    xshm_abi_data_t header;

    xshm_raw_header(&header);
    return xshm_raw_memfd_with(size, seals, &header);
}

void xshm_raw_mem_alloc_with(xshm_raw_mem_t *mem, const xshm_abi_data_t *header)
{
    mem->data_fd = xshm_raw_memfd_with(XSHM_RAW_DATA_SIZE,
                                       F_SEAL_SHRINK | F_SEAL_GROW |
                                               F_SEAL_FUTURE_WRITE,
                                       header);
    mem->return_fd =
            xshm_raw_memfd(XSHM_ABI_RETURN_SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
}

void xshm_raw_mem_alloc(xshm_raw_mem_t *mem)
{
    xshm_abi_data_t header;

    xshm_raw_header(&header);
    xshm_raw_mem_alloc_with(mem, &header);
}

void xshm_raw_mem_free(xshm_raw_mem_t *mem)
{
    close(mem->data_fd);
    close(mem->return_fd);
}
