/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>


/* Request and answer of the wire protocol of xenstore: read a node, and "it
 * failed", whose payload is the name of the error */
#define XSHM_INFO_XENSTORE_READ  2
#define XSHM_INFO_XENSTORE_ERROR 16

/* A xenstore that needs longer does not answer */
#define XSHM_INFO_XENSTORE_TIMEOUT_MS 5000

/* Longest value that is asked for, bytes */
#define XSHM_INFO_XENSTORE_VALUE_MAX 64


typedef struct xshm_info_xenstore_header {
    uint32_t type;
    uint32_t request;
    uint32_t transaction;
    uint32_t length;
} xshm_info_xenstore_header_t;


static int xshm_info_xenstore_ask(int fd, const char *path)
{
    xshm_info_xenstore_header_t header    = {.type   = XSHM_INFO_XENSTORE_READ,
                                             .length = strlen(path) + 1};
    const struct iovec          message[] = {{&header, sizeof(header)},
                                             {(char *)path, header.length}};

    return writev(fd, message, 2) == (ssize_t)(sizeof(header) + header.length);
}

/* @return 0 with errno set if it did not come in time */
static int xshm_info_xenstore_receive(int fd, void *buffer, size_t length)
{
    struct pollfd pfd  = {.fd = fd, .events = POLLIN};
    char         *next = buffer;
    ssize_t       received;

    while (length > 0) {
        if (poll(&pfd, 1, XSHM_INFO_XENSTORE_TIMEOUT_MS) <= 0) {
            errno = ETIMEDOUT;
            return 0;
        }

        received = read(fd, next, length);
        if (received <= 0) {
            return 0;
        }

        next += received;
        length -= (size_t)received;
    }

    return 1;
}

static const char *xshm_info_xenstore_answer(int fd)
{
    char                        value[XSHM_INFO_XENSTORE_VALUE_MAX + 1];
    xshm_info_xenstore_header_t header;

    if (!xshm_info_xenstore_receive(fd, &header, sizeof(header))) {
        return NULL;
    }

    if (header.length > XSHM_INFO_XENSTORE_VALUE_MAX) {
        errno = EMSGSIZE;
        return NULL;
    }

    if (!xshm_info_xenstore_receive(fd, value, header.length)) {
        return NULL;
    }

    value[header.length] = '\0';
    if (header.type == XSHM_INFO_XENSTORE_ERROR) {
        errno = strcmp(value, "ENOENT") ? EIO : ENOENT;
        return NULL;
    }

    return xshm_info_format("%s", value);
}

const char *xshm_info_read_xenstore(const char *device, const char *path)
{
    const char *value = NULL;
    int         fd, saved;

    fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }

    if (xshm_info_xenstore_ask(fd, path)) {
        value = xshm_info_xenstore_answer(fd);
    }

    saved = errno;
    close(fd);
    errno = saved;
    return value;
}
