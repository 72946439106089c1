/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "bootid.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>


#define XSHM_BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

/* Text of a UUID */
#define XSHM_BOOT_ID_LEN 36

/* FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/ */
#define XSHM_FNV_BASIS 0xcbf29ce484222325ull
#define XSHM_FNV_PRIME 0x100000001b3ull


static int xshm_boot_id_read(char *boot_id)
{
    ssize_t length;
    int     fd;

    fd = open(XSHM_BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }

    length = read(fd, boot_id, XSHM_BOOT_ID_LEN);
    close(fd);
    return length == XSHM_BOOT_ID_LEN;
}

static uint64_t xshm_fnv(uint64_t hash, const char *data, size_t length)
{
    size_t i;

    for (i = 0; i < length; ++i) {
        hash = (hash ^ (uint8_t)data[i]) * XSHM_FNV_PRIME;
    }

    return hash;
}

int xshm_boot_id_hash(uint64_t salt, uint64_t *hash_p)
{
    char boot_id[XSHM_BOOT_ID_LEN];

    if (!xshm_boot_id_read(boot_id)) {
        return 0;
    }

    *hash_p = xshm_fnv(xshm_fnv(XSHM_FNV_BASIS, (const char *)&salt,
                                sizeof(salt)),
                       boot_id, sizeof(boot_id));
    return 1;
}
