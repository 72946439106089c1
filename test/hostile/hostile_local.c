/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The device "local": a UNIX socket and memory files.
 */

#define _GNU_SOURCE

#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCAL_MAGIC     0x78736c31u
#define LOCAL_MAX_FDS   16
#define LOCAL_BACKLOG   16
#define LOCAL_SEALS     (F_SEAL_SHRINK | F_SEAL_GROW)
#define LOCAL_ALL_SEALS (LOCAL_SEALS | F_SEAL_FUTURE_WRITE)
#define LOCAL_ROUNDS    200
#define LOCAL_SECONDS   0.7

enum {
    LOCAL_HELLO   = 1,
    LOCAL_REQUEST = 2,
    LOCAL_ACCEPT  = 3,
    LOCAL_REFUSE  = 4,
    LOCAL_CLOSE   = 5,
    LOCAL_EVENT   = 6
};

typedef struct {
    uint32_t        magic;
    uint32_t        version;
    uint32_t        type;
    uint32_t        reason;
    uint32_t        channel;
    uint32_t        by_sender;
    uint64_t        process;
    uint32_t        data_size;
    hostile_iface_t target;
    uint8_t         unused[3];
    uint32_t        wake;
    uint32_t        slot;
    uint32_t        rights;
    uint64_t        id;
    uint64_t        region;
    uint64_t        base;
    uint64_t        length;
} local_msg_t;

static int      local_listener = -1;
static int      local_victim   = -1; /* Its connection to us */
static uint32_t local_number;

static socklen_t local_name(uint64_t process, struct sockaddr_un *name)
{
    memset(name, 0, sizeof(*name));
    name->sun_family = AF_UNIX;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                       (size_t)snprintf(name->sun_path + 1,
                                        sizeof(name->sun_path) - 1,
                                        "xshm.%u.%016" PRIx64, geteuid(),
                                        process));
}

static int local_connect(uint64_t process)
{
    int                fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un name;
    socklen_t          length = local_name(process, &name);

    hostile_check(fd >= 0, "socket");
    hostile_check(connect(fd, (struct sockaddr *)&name, length) == 0,
                  "the victim is not there");
    return fd;
}

/* @return Zero if the victim has hung up */
static int local_send_flags(int fd, const void *data, size_t length,
                            const int *fds, unsigned num_fds, int flags)
{
    union {
        struct cmsghdr header;
        char           buffer[CMSG_SPACE(sizeof(int) * LOCAL_MAX_FDS)];
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
    return sendmsg(fd, &header, MSG_NOSIGNAL | flags) >= 0;
}

static int local_send(int fd, const void *data, size_t length, const int *fds,
                      unsigned num_fds)
{
    return local_send_flags(fd, data, length, fds, num_fds, 0);
}

static void local_msg(local_msg_t *msg, unsigned type, uint32_t number)
{
    memset(msg, 0, sizeof(*msg));
    msg->magic     = LOCAL_MAGIC;
    msg->version   = XSHM_ABI_VERSION;
    msg->type      = type;
    msg->channel   = number;
    msg->by_sender = 1;
    msg->process   = 0xbadbadbad;
}

/* @return Length, zero at the end, or -1: nothing in this time */
static ssize_t local_receive(int fd, local_msg_t *msg, int *fds, double seconds)
{
    union {
        struct cmsghdr header;
        char           buffer[CMSG_SPACE(sizeof(int) * 2)];
    } control            = {{0}};
    struct iovec  iov    = {.iov_base = msg, .iov_len = sizeof(*msg)};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = control.buffer,
                            .msg_controllen = sizeof(control.buffer)};
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    ssize_t       length;

    if (poll(&pollfd, 1, (int)(seconds * 1000)) != 1) {
        return -1;
    }
    length = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
    if ((header.msg_controllen > 0) && (fds != NULL)) {
        memcpy(fds, CMSG_DATA(&control.header), 2 * sizeof(int));
    }
    return (length < 0) ? 0 : length;
}

static void local_start(void)
{
}

static int local_memfd(size_t size)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    hostile_check((fd >= 0) && (posix_fallocate(fd, 0, (off_t)size) == 0),
                  "memory");
    return fd;
}

static void *local_map(int fd, size_t size, int prot)
{
    void *ptr = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

    hostile_check(ptr != MAP_FAILED, "mmap");
    return ptr;
}

static void local_alloc(hostile_channel_t       *channel,
                        const hostile_address_t *victim, size_t ring_size)
{
    (void)victim;

    channel->data_size = XSHM_ABI_RING_OFFSET + ring_size;
    channel->number    = ++local_number;
    channel->fd        = -1;
    channel->fds[0]    = local_memfd(channel->data_size);
    channel->fds[1]    = local_memfd(XSHM_ABI_RETURN_SIZE);
    channel->data      = local_map(channel->fds[0], channel->data_size,
                                   PROT_READ | PROT_WRITE);
    channel->ret       = local_map(channel->fds[1], XSHM_ABI_RETURN_SIZE,
                                   PROT_READ | PROT_WRITE);
    hostile_check((fcntl(channel->fds[0], F_ADD_SEALS, LOCAL_ALL_SEALS) == 0) &&
                          (fcntl(channel->fds[1], F_ADD_SEALS, LOCAL_SEALS) ==
                           0),
                  "seals");
    hostile_fill_layout(channel);
}

static void local_request(local_msg_t *msg, const hostile_channel_t *channel,
                          const hostile_address_t *victim)
{
    local_msg(msg, LOCAL_REQUEST, channel->number);
    msg->data_size = (uint32_t)channel->data_size;
    msg->target    = victim->iface;
}

static void
local_ask(hostile_channel_t *channel, const hostile_address_t *victim)
{
    local_msg_t msg;

    channel->fd = local_connect(victim->iface.process);
    local_msg(&msg, LOCAL_HELLO, 0);
    local_send(channel->fd, &msg, sizeof(msg), NULL, 0);
    local_request(&msg, channel, victim);
    local_send(channel->fd, &msg, sizeof(msg), channel->fds, 2);
}

static int local_answer(hostile_channel_t *channel, double seconds)
{
    local_msg_t msg;

    if (local_receive(channel->fd, &msg, NULL, seconds) <= 0) {
        return HOSTILE_NO_ANSWER;
    }
    return (msg.type == LOCAL_ACCEPT) ? HOSTILE_ACCEPTED : (int)msg.reason;
}

static int local_is_ended(hostile_channel_t *channel)
{
    local_msg_t msg;
    ssize_t     length;

    do {
        length = local_receive(channel->fd, &msg, NULL, 0);
    } while ((length > 0) && (msg.type != LOCAL_CLOSE));
    return length >= 0;
}

static void local_end(hostile_channel_t *channel)
{
    munmap(channel->data, channel->data_size);
    munmap(channel->ret, XSHM_ABI_RETURN_SIZE);
    close(channel->fds[0]);
    close(channel->fds[1]);
    if (channel->fd >= 0) {
        close(channel->fd);
    }
}

static void local_event(hostile_channel_t *channel, int fd, uint32_t wake)
{
    local_msg_t msg;

    local_msg(&msg, LOCAL_EVENT, channel->number);
    msg.wake = wake;
    local_send_flags(channel->fd, &msg, sizeof(msg), &fd, 1, MSG_DONTWAIT);
}

static void local_attract(hostile_channel_t *channel)
{
    int fds[2];

    hostile_check(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == 0,
                  "socketpair");
    local_event(channel, fds[0], (uint32_t)hostile_random());
    close(fds[0]);
    close(fds[1]);
}

static void
local_listen(hostile_address_t *own, const hostile_address_t *victim)
{
    struct sockaddr_un name;
    socklen_t          length = local_name(own->iface.process, &name);

    (void)victim;

    local_listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    hostile_check((local_listener >= 0) &&
                          (bind(local_listener, (struct sockaddr *)&name,
                                length) == 0) &&
                          (listen(local_listener, LOCAL_BACKLOG) == 0),
                  "listen");
}

static int local_next(local_msg_t *msg, int *fds, double deadline)
{
    struct pollfd pollfds[2] = {{.fd = local_listener, .events = POLLIN},
                                {.fd = local_victim, .events = POLLIN}};

    while (hostile_now() < deadline) {
        pollfds[1].fd = local_victim;
        poll(pollfds, 2, 100);
        if ((local_victim >= 0) && (pollfds[1].revents != 0)) {
            if (local_receive(local_victim, msg, fds, 0) > 0) {
                return 1;
            }
            close(local_victim);
            local_victim = -1;
        } else if (pollfds[0].revents & POLLIN) {
            if (local_victim >= 0) {
                close(local_victim);
            }
            local_victim = accept4(local_listener, NULL, NULL, SOCK_CLOEXEC);
        }
    }
    return 0;
}

static int local_offered(hostile_channel_t *channel, double seconds)
{
    double      deadline = hostile_now() + seconds;
    local_msg_t msg      = {0};

    channel->fds[0] = -1;
    do {
        if (!local_next(&msg, channel->fds, deadline)) {
            return 0;
        }
    } while (msg.type != LOCAL_REQUEST);

    hostile_check(channel->fds[0] >= 0, "no descriptors");
    channel->fd        = local_victim;
    channel->number    = msg.channel;
    channel->data_size = msg.data_size;
    hostile_check(mmap(NULL, channel->data_size, PROT_READ | PROT_WRITE,
                       MAP_SHARED, channel->fds[0], 0) == MAP_FAILED,
                  "the victim's data pages can be written");
    channel->data = local_map(channel->fds[0], channel->data_size, PROT_READ);
    channel->ret  = local_map(channel->fds[1], XSHM_ABI_RETURN_SIZE,
                              PROT_READ | PROT_WRITE);
    close(channel->fds[0]);
    close(channel->fds[1]);
    return 1;
}

static void local_accept(hostile_channel_t *channel)
{
    local_msg_t msg;

    local_msg(&msg, LOCAL_ACCEPT, channel->number);
    msg.by_sender          = 0;
    channel->ret->live     = 1;
    channel->ret->was_live = 1;
    local_send(channel->fd, &msg, sizeof(msg), NULL, 0);
}

const hostile_device_t hostile_local = {.name     = "local",
                                        .rounds   = LOCAL_ROUNDS,
                                        .start    = local_start,
                                        .alloc    = local_alloc,
                                        .ask      = local_ask,
                                        .answer   = local_answer,
                                        .is_ended = local_is_ended,
                                        .end      = local_end,
                                        .attract  = local_attract,
                                        .listen   = local_listen,
                                        .offered  = local_offered,
                                        .accept   = local_accept};


static void local_expect_hung_up(int fd, const char *what)
{
    double      deadline = hostile_now() + HOSTILE_PATIENCE;
    local_msg_t msg;

    while (local_receive(fd, &msg, NULL, 0.1) != 0) {
        if (hostile_now() > deadline) {
            hostile_fail("the victim does not hang up after %s", what);
        }
    }
    close(fd);
}

/* All lengths, and what is no message */
static void local_garbage(const hostile_address_t *victim)
{
    uint8_t     bytes[2 * sizeof(local_msg_t)];
    local_msg_t msg;
    size_t      length, i;
    int         fd;

    for (length = 1; length < sizeof(bytes); length += 3) {
        for (i = 0; i < sizeof(bytes); ++i) {
            bytes[i] = (uint8_t)hostile_random();
        }
        fd = local_connect(victim->iface.process);
        local_send(fd, bytes, length, NULL, 0);
        local_expect_hung_up(fd, "garbage");

        if (length == sizeof(msg)) {
            continue;
        }
        local_msg(&msg, LOCAL_REQUEST, 1);
        memcpy(bytes, &msg, sizeof(msg));
        fd = local_connect(victim->iface.process);
        local_send(fd, bytes, length, NULL, 0);
        local_expect_hung_up(fd, "a wrong length");
    }
    hostile_say("it hung up each time");
}

/* Other types, by the wrong side, and for channels that are not there */
static void local_types(const hostile_address_t *victim)
{
    int         devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
    local_msg_t msg;
    unsigned    i;
    int         fd;

    for (i = 0; i < 300; ++i) {
        fd = local_connect(victim->iface.process);
        local_msg(&msg, i % 16, i);
        msg.by_sender = i % 3;
        msg.reason    = (uint32_t)hostile_random();
        msg.wake      = (uint32_t)hostile_random();
        msg.length    = UINT64_MAX - i;
        msg.base      = hostile_random();
        local_send(fd, &msg, sizeof(msg), &devnull, 1);
        local_send(fd, &msg, sizeof(msg), &devnull, 1);
        local_msg(&msg, LOCAL_REQUEST, 1);
        msg.by_sender = 0;
        local_send(fd, &msg, sizeof(msg), NULL, 0);
        local_expect_hung_up(fd, "a request by no sender");
    }
    close(devnull);
    hostile_say("300 connections");
}

static void local_versions(const hostile_address_t *victim)
{
    local_msg_t msg, answer;
    unsigned    i;
    int         fd;

    for (i = 0; i < 200; ++i) {
        fd = local_connect(victim->iface.process);
        local_msg(&msg, LOCAL_REQUEST, i);
        msg.version = XSHM_ABI_VERSION + 1 + i;
        local_send(fd, &msg, sizeof(msg), NULL, 0);
        hostile_check((local_receive(fd, &answer, NULL, HOSTILE_PATIENCE) >
                       0) && (answer.type == LOCAL_REFUSE) &&
                              (answer.reason == HOSTILE_VERSION),
                      "another version is not refused");
        local_expect_hung_up(fd, "another version");
    }
    hostile_say("200 requests were refused");
}

static void local_bad_fds(const hostile_address_t *victim, int data, int ret)
{
    hostile_channel_t channel = {.is_sender = 1};

    local_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
    if (data >= 0) {
        dup3(data, channel.fds[0], O_CLOEXEC);
        close(data);
    }
    if (ret >= 0) {
        dup3(ret, channel.fds[1], O_CLOEXEC);
        close(ret);
    }
    hostile_expect_answer(&channel, victim, HOSTILE_INVALID);
}

static int local_sealed(size_t size, int seals)
{
    int fd = local_memfd(size);

    hostile_check(fcntl(fd, F_ADD_SEALS, seals) == 0, "seals");
    return fd;
}

static int local_hollow(size_t size)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    hostile_check((ftruncate(fd, (off_t)size) == 0) &&
                          (fcntl(fd, F_ADD_SEALS, LOCAL_ALL_SEALS) == 0),
                  "hollow memory");
    return fd;
}

/* Memory that could be taken away below the victim's feet, or is not there */
static void local_memory(const hostile_address_t *victim)
{
    const size_t size = XSHM_ABI_RING_OFFSET + XSHM_ABI_RING_MIN_SIZE;

    local_bad_fds(victim, local_sealed(size, 0), -1);
    local_bad_fds(victim, local_sealed(size, F_SEAL_SHRINK), -1);
    local_bad_fds(victim, local_sealed(size, LOCAL_SEALS), -1);
    local_bad_fds(victim, local_sealed(size / 2, LOCAL_ALL_SEALS), -1);
    local_bad_fds(victim, local_sealed(2 * size, LOCAL_ALL_SEALS), -1);
    local_bad_fds(victim, local_hollow(size), -1);
    local_bad_fds(victim, open("/dev/zero", O_RDWR | O_CLOEXEC), -1);
    local_bad_fds(victim, eventfd(0, EFD_CLOEXEC), -1);
    local_bad_fds(victim, -1, local_sealed(XSHM_ABI_RETURN_SIZE, 0));
    local_bad_fds(victim, -1, local_sealed(2, LOCAL_SEALS));
    local_bad_fds(victim, -1, open("/dev/zero", O_RDWR | O_CLOEXEC));
    hostile_say("11 requests were refused");
}

static void local_bad_size(const hostile_address_t *victim, size_t size)
{
    hostile_channel_t channel = {.is_sender = 1};
    size_t            good;

    local_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
    good              = channel.data_size;
    channel.data_size = size;
    local_ask(&channel, victim);
    channel.data_size = good;
    hostile_check(local_answer(&channel, HOSTILE_PATIENCE) == HOSTILE_INVALID,
                  "a wrong size is not refused");
    local_end(&channel);
}

static void local_sizes(const hostile_address_t *victim)
{
    local_bad_size(victim, 0);
    local_bad_size(victim, XSHM_ABI_PAGE_SIZE);
    local_bad_size(victim, 2 * XSHM_ABI_PAGE_SIZE + 64);
    local_bad_size(victim, 4 * XSHM_ABI_PAGE_SIZE);
    local_bad_size(victim, UINT32_MAX - XSHM_ABI_PAGE_SIZE + 1);
    hostile_say("5 requests were refused");
}

/* The victim has it mapped: pull it away, or put a hole in */
static void local_shrink(const hostile_address_t *victim)
{
    hostile_channel_t channel;

    hostile_open(&channel, victim);
    hostile_check((ftruncate(channel.fds[0], 0) != 0) &&
                          (ftruncate(channel.fds[1], 0) != 0),
                  "it can be shrunk");
    hostile_check(fallocate(channel.fds[0],
                            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                            (off_t)channel.data_size) != 0,
                  "data pages can be taken away");
    (void)!fallocate(channel.fds[1], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     0, XSHM_ABI_RETURN_SIZE);
    *(uint64_t *)((uint8_t *)channel.data + XSHM_ABI_RING_OFFSET) =
            0x00010863ffffffffull;
    hostile_expect_end(&channel);
    hostile_say("a hole in the return page did no harm");
}

/* The same request twice, on one connection and on another */
static void local_replay(const hostile_address_t *victim)
{
    hostile_channel_t channel;
    local_msg_t       msg;
    int               other, i;

    for (i = 0; i < 20; ++i) {
        hostile_open(&channel, victim);
        local_request(&msg, &channel, victim);
        other = local_connect(victim->iface.process);
        local_send(other, &msg, sizeof(msg), channel.fds, 2);
        local_send(channel.fd, &msg, sizeof(msg), channel.fds, 2);
        local_expect_hung_up(dup(channel.fd), "a replayed request");
        close(other);
        local_end(&channel);
    }
    hostile_say("it hung up 20 times");
}

/* Answers that nobody takes must not pile up */
static void local_unread(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_PATIENCE;
    hostile_channel_t channel  = {.is_sender = 1};
    unsigned          count    = 0;
    local_msg_t       msg;

    local_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
    channel.fd = local_connect(victim->iface.process);
    local_request(&msg, &channel, victim);
    msg.target.token[0] ^= 1;
    while (local_send(channel.fd, &msg, sizeof(msg), channel.fds, 2)) {
        msg.channel = ++count;
        if (hostile_now() > deadline) {
            hostile_fail("%u answers are kept for us", count);
        }
    }
    local_end(&channel);
    hostile_say("it hung up after %u requests", count);
}

/* A request without all of its descriptors is none, however often it comes */
static void local_no_memory(const hostile_address_t *victim)
{
    hostile_channel_t channel = {.is_sender = 1};
    local_msg_t       msg;
    unsigned          i;
    int               fd;

    local_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
    for (i = 0; i < LOCAL_ROUNDS; ++i) {
        fd = local_connect(victim->iface.process);
        local_request(&msg, &channel, victim);
        local_send(fd, &msg, sizeof(msg), channel.fds, i % 2);
        local_expect_hung_up(fd, "a request without memory");
    }
    local_end(&channel);
    hostile_say("it hung up %u times", i);
}

/* @return How many were accepted before the first refusal */
static unsigned local_open_many(const hostile_address_t *victim, int fd,
                                hostile_channel_t *channel, unsigned count)
{
    local_msg_t msg;
    unsigned    i;

    for (i = 0; i < count; ++i) {
        ++channel->number;
        local_request(&msg, channel, victim);
        if (!local_send(fd, &msg, sizeof(msg), channel->fds, 2) ||
            (local_receive(fd, &msg, NULL, HOSTILE_PATIENCE) <= 0)) {
            break;
        }
        if (msg.type != LOCAL_ACCEPT) {
            hostile_check(msg.reason == HOSTILE_RESOURCE,
                          "one too many is refused for another reason");
            break;
        }
    }
    return i;
}

static void local_many(const hostile_address_t *victim)
{
    hostile_channel_t channel = {.is_sender = 1};
    unsigned          count;

    local_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
    channel.fd = local_connect(victim->iface.process);
    count      = local_open_many(victim, channel.fd, &channel, 3000);
    local_end(&channel);
    if (count >= 3000) {
        hostile_fail("%u channels were accepted", count);
    }
    hostile_say("%u channels were accepted, and no more", count);
}

/* Connections that say nothing. Others must still be able to connect. */
static void local_connections(const hostile_address_t *victim)
{
    static int fds[400];
    unsigned   i, open = 0;
    char       byte;

    for (i = 0; i < 400; ++i) {
        fds[i] = local_connect(victim->iface.process);
    }
    hostile_sleep_ms(300);
    for (i = 0; i < 400; ++i) {
        open += (recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0) && (errno == EAGAIN);
    }
    for (i = 0; i < 400; ++i) {
        close(fds[i]);
    }
    hostile_sleep_ms(100);
    hostile_knock(victim);
    if (open > 100) {
        hostile_fail("%u connections of one process are kept", open);
    }
    hostile_say("%u of 400 connections are kept", open);
}

/* What cannot wake us, or would block who wakes us */
static void local_bells(const hostile_address_t *victim)
{
    int               fds[] = {open("/dev/null", O_RDWR | O_CLOEXEC),
                               open("/dev/zero", O_RDWR | O_CLOEXEC), 0, 0};
    hostile_channel_t channel;
    unsigned          i;

    hostile_check(pipe2(&fds[2], O_CLOEXEC) == 0, "pipe");
    for (i = 0; i < 200; ++i) {
        hostile_open(&channel, victim);
        channel.data->wake.wants = 1;
        local_event(&channel, fds[i % 4], i + 1);
        channel.data->wake.sleeps = 1;
        local_end(&channel);
    }
    for (i = 0; i < 4; ++i) {
        close(fds[i]);
    }
    hostile_say("200 channels");
}

/* Longer than what shares its line with others, so that the line is given back */
static void local_message(hostile_channel_t *channel, unsigned index)
{
    xshm_abi_record_t record = {{.size = XSHM_ABI_UNITS_PAYLOAD + 1,
                                 .type = XSHM_RECORD_AM,
                                 .lap  = (uint16_t)(1 + (index / 64))}};

    __atomic_store_n((uint64_t *)((uint8_t *)channel->data +
                                  XSHM_ABI_RING_OFFSET +
                                  ((index % 64) * XSHM_ABI_LINE_SIZE)),
                     record.word, __ATOMIC_RELEASE);
}

/* A descriptor that takes no more, and would block who notifies by it: its flags
 * are ours as much as the victim's */
static void local_blocking_bell(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + LOCAL_SECONDS;
    const char        byte     = 0;
    unsigned          count;
    hostile_channel_t channel;
    int               fds[2];

    hostile_check(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == 0,
                  "socketpair");
    hostile_open(&channel, victim);
    __atomic_store_n(&channel.data->wake.wants, 1, __ATOMIC_SEQ_CST);
    local_event(&channel, fds[0], 1);
    while ((__atomic_load_n(&channel.ret->wake.notifies, __ATOMIC_ACQUIRE) !=
            1) &&
           (hostile_now() < deadline)) {
    }
    while (send(fds[0], &byte, sizeof(byte), MSG_DONTWAIT) >= 0) {
    }
    hostile_check(fcntl(fds[0], F_SETFL, 0) == 0, "fcntl");
    for (count = 0; count < 1000; ++count) {
        __atomic_store_n(&channel.data->wake.sleeps, (2 * count) + 1,
                         __ATOMIC_SEQ_CST);
        local_message(&channel, count);
        deadline = hostile_now() + HOSTILE_PATIENCE;
        while (__atomic_load_n(&channel.ret->consumed, __ATOMIC_ACQUIRE) <=
               count) {
            if (hostile_now() > deadline) {
                hostile_fail("the victim stands still after %u messages",
                             count);
            }
        }
    }
    local_end(&channel);
    close(fds[0]);
    close(fds[1]);
    hostile_say("%u messages", count);
}

/* As if we were somebody else, whom the victim will want to connect to. The
 * connection stays. */
static void local_impostor(const hostile_address_t *victim)
{
    int         fd = local_connect(victim->iface.process);
    local_msg_t msg;

    local_msg(&msg, LOCAL_HELLO, 0);
    msg.process = strtoull(hostile_argument, NULL, 16);
    local_send(fd, &msg, sizeof(msg), NULL, 0);
    hostile_sleep_ms(200);
    hostile_say("as process %016" PRIx64, msg.process);
}

const hostile_attack_t hostile_local_attacks[] = {
        {"garbage", local_garbage},
        {"socket-types", local_types},
        {"versions", local_versions},
        {"memory", local_memory},
        {"sizes", local_sizes},
        {"shrink", local_shrink},
        {"replay", local_replay},
        {"unread", local_unread},
        {"many", local_many},
        {"connections", local_connections},
        {"bells", local_bells},
        {"blocking-bell", local_blocking_bell},
        {"impostor", local_impostor},
        {"no-memory", local_no_memory},
        {NULL, NULL}};
