/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "local_wire.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


/* New at each start of the kernel: two kernels do not have the same */
#define XSHM_LOCAL_BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define XSHM_LOCAL_NETNS_FILE   "/proc/self/ns/net"

/* FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/ */
#define XSHM_LOCAL_FNV_BASIS 0xcbf29ce484222325ull
#define XSHM_LOCAL_FNV_PRIME 0x100000001b3ull

/* Text of a UUID */
#define XSHM_LOCAL_BOOT_ID_LEN 36


static int xshm_local_read_boot_id(char *boot_id)
{
    ssize_t length;
    int     fd;

    fd = open(XSHM_LOCAL_BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }

    length = read(fd, boot_id, XSHM_LOCAL_BOOT_ID_LEN);
    close(fd);
    return length == XSHM_LOCAL_BOOT_ID_LEN;
}

static uint64_t xshm_local_hash(const char *data, size_t length)
{
    uint64_t hash = XSHM_LOCAL_FNV_BASIS;
    size_t   i;

    for (i = 0; i < length; ++i) {
        hash = (hash ^ (uint8_t)data[i]) * XSHM_LOCAL_FNV_PRIME;
    }

    return hash;
}

int xshm_local_dev_addr_get(xshm_local_dev_addr_t *addr)
{
    char        boot_id[XSHM_LOCAL_BOOT_ID_LEN];
    struct stat netns;

    if (!xshm_local_read_boot_id(boot_id) ||
        (stat(XSHM_LOCAL_NETNS_FILE, &netns) != 0)) {
        return 0;
    }

    addr->kernel    = xshm_local_hash(boot_id, sizeof(boot_id));
    addr->netns_dev = netns.st_dev;
    addr->netns_ino = netns.st_ino;
    addr->uid       = geteuid();
    return 1;
}

socklen_t xshm_local_sockaddr(uint32_t uid, uint64_t process,
                              struct sockaddr_un *sockaddr)
{
    int length;

    memset(sockaddr, 0, sizeof(*sockaddr));
    sockaddr->sun_family = AF_UNIX;
    /* The first byte stays zero: a name in the abstract namespace */
    length = snprintf(sockaddr->sun_path + 1, sizeof(sockaddr->sun_path) - 1,
                      XSHM_LOCAL_NAME_FMT, uid, process);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}
