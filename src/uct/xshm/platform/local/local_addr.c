/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "local_wire.h"
#include "../bootid.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#define XSHM_LOCAL_NETNS_FILE "/proc/self/ns/net"

/* For the name of this kernel */
#define XSHM_LOCAL_BOOT_ID_SALT 0


int xshm_local_dev_addr_get(xshm_local_dev_addr_t *addr)
{
    struct stat netns;
    uint64_t    kernel;

    if (!xshm_boot_id_hash(XSHM_LOCAL_BOOT_ID_SALT, &kernel) ||
        (stat(XSHM_LOCAL_NETNS_FILE, &netns) != 0)) {
        return 0;
    }

    addr->kernel    = kernel;
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
