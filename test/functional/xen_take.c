/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * xen_take: takes what is left of a resource of this virtual machine, but for LEAVE
 * (none by default), says "took COUNT", and gives it back when its standard input
 * ends.
 *
 *   xen_take grants [LEAVE]     pages that can be granted
 *   xen_take ports [LEAVE]      event channels
 *   xen_take watches [LEAVE]    watches in xenstore
 *
 * It makes the kernel's calls itself: libxenstore closes its connection, with all
 * watches of it, at the first one that is refused.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What the kernel's header takes for given */
typedef uint16_t domid_t;
#include <xen/evtchn.h>
#include <xen/gntalloc.h>

#define TAKE_NOBODY 0x7fef /* A domain that is not there */
#define TAKE_MAX    100000 /* No limit is as high */
/* Of the protocol of xenstore */
#define TAKE_XS_WATCH 4
/* Length of "data/xen_take/00000000" and of "take", with their zeros */
#define TAKE_PAYLOAD 28

typedef struct {
    const char *name;
    const char *device;
    int (*take)(int fd); /* One more. @return Zero if there is none. */
} take_resource_t;

static int take_grant(int fd)
{
    struct ioctl_gntalloc_alloc_gref grant = {.domid = TAKE_NOBODY, .count = 1};

    return ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &grant) == 0;
}

static int take_port(int fd)
{
    struct ioctl_evtchn_bind_unbound_port bind = {.remote_domain = TAKE_NOBODY};

    return ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind) >= 0;
}

/* The kernel answers a write that it refuses by an error, and keeps the others.
 * Nobody reads what it answers to those that it does not. */
static int take_watch(int fd)
{
    static unsigned number;
    struct {
        uint32_t type, request, transaction, length;
        char     payload[TAKE_PAYLOAD];
    } message = {.type = TAKE_XS_WATCH, .length = TAKE_PAYLOAD};

    /* A path and a token, each of which ends with a zero */
    snprintf(message.payload, sizeof(message.payload),
             "data/xen_take/%08u%ctake", number++, '\0');
    return write(fd, &message, sizeof(message)) >= 0;
}

static const take_resource_t take_resources[] = {
        {"grants", "/dev/xen/gntalloc", take_grant},
        {"ports", "/dev/xen/evtchn", take_port},
        {"watches", "/dev/xen/xenbus", take_watch}};

#define TAKE_NUM_RESOURCES (sizeof(take_resources) / sizeof(take_resources[0]))

/* The kernel gives back what was taken by a descriptor when that is closed */
static int take_open(const take_resource_t *resource)
{
    int fd = open(resource->device, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        perror(resource->device);
        exit(EXIT_FAILURE);
    }

    return fd;
}

/* @return How many there were, at most max */
static unsigned take_some(const take_resource_t *resource, int fd, unsigned max)
{
    unsigned count = 0;

    while ((count < max) && resource->take(fd)) {
        ++count;
    }

    return count;
}

static int take_and_hold(const take_resource_t *resource, unsigned leave)
{
    int      reserve = take_open(resource);
    int      fd      = take_open(resource);
    unsigned left    = take_some(resource, reserve, leave);
    unsigned count   = take_some(resource, fd, TAKE_MAX);
    char     byte;

    close(reserve);
    printf("took %u\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, sizeof(byte)) > 0) {
    }

    close(fd);
    return ((left == leave) && (count > 0)) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    unsigned i;

    for (i = 0; (argc >= 2) && (i < TAKE_NUM_RESOURCES); ++i) {
        if (!strcmp(argv[1], take_resources[i].name)) {
            return take_and_hold(&take_resources[i],
                                 (argc > 2) ? atoi(argv[2]) : 0);
        }
    }

    fprintf(stderr, "usage: xen_take grants|ports|watches [LEAVE]\n");
    return EXIT_FAILURE;
}
