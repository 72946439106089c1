/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <xshm/xshm_abi.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>


/* Longest text of a link in /proc, as "net:[4026531840]" */
#define XSHM_INFO_LINK_MAX 64


/* Two processes with the same one are on the same kernel */
static void xshm_info_check_boot_id(xshm_info_section_t *section)
{
    const char *path = "/proc/sys/kernel/random/boot_id";
    const char *id   = xshm_info_read_line(path);

    if (id == NULL) {
        xshm_info_add(section, "boot_id", XSHM_INFO_MISSING, NULL,
                      xshm_info_format("cannot tell which kernel this is: %s: "
                                       "%s",
                                       path, strerror(errno)),
                      "sudo mount -t proc proc /proc");
        return;
    }

    xshm_info_add(section, "boot_id", XSHM_INFO_OK, id,
                  xshm_info_format("peers must be on this kernel: boot id %s",
                                   id),
                  NULL);
}

static void xshm_info_check_netns(xshm_info_section_t *section)
{
    const char *path = "/proc/self/ns/net";
    char        link[XSHM_INFO_LINK_MAX];
    ssize_t     length;

    length = readlink(path, link, sizeof(link) - 1);
    if (length < 0) {
        xshm_info_add(section, "network_namespace", XSHM_INFO_MISSING, NULL,
                      xshm_info_format("cannot tell which network namespace "
                                       "this is: %s: %s",
                                       path, strerror(errno)),
                      "sudo mount -t proc proc /proc");
        return;
    }

    link[length] = '\0';
    xshm_info_add(section, "network_namespace", XSHM_INFO_OK,
                  xshm_info_format("%s", link),
                  xshm_info_format("peers must be in this network namespace: "
                                   "%s",
                                   link),
                  NULL);
}

static void xshm_info_add_user(xshm_info_section_t *section)
{
    const char *uid = xshm_info_format("%u", (unsigned)geteuid());

    xshm_info_add(section, "user", XSHM_INFO_OK, uid,
                  xshm_info_format("peers must be of this user: %s", uid),
                  NULL);
}

/* What a sender does for a channel. @return What failed, or NULL. */
static const char *xshm_info_try_memory(int fd)
{
    if (fd < 0) {
        return "memfd_create() failed";
    }

    if (posix_fallocate(fd, 0, XSHM_ABI_PAGE_SIZE) != 0) {
        return "no page could be allocated";
    }

    if (fcntl(fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) != 0) {
        return "it cannot be sealed against writing";
    }

    return NULL;
}

static void xshm_info_check_memory(xshm_info_section_t *section)
{
    int         fd = memfd_create("xshm-info", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *failed = xshm_info_try_memory(fd);

    if (failed != NULL) {
        xshm_info_add(section, "memory", XSHM_INFO_MISSING, NULL,
                      xshm_info_format("memory cannot be shared: %s (%s)",
                                       failed, strerror(errno)),
                      "use Linux 5.1 or newer, and see the limits below");
    } else {
        xshm_info_add(section, "memory", XSHM_INFO_OK, NULL,
                      "memory can be shared, and sealed so that peers cannot "
                      "write it",
                      NULL);
    }

    if (fd >= 0) {
        close(fd);
    }
}

/* As the service's listening socket: nothing of it is in a file system */
static int xshm_info_try_socket(int fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int                length;

    length = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1,
                      "xshm-info.%d", (int)getpid());
    return (fd >= 0) &&
           (bind(fd, (struct sockaddr *)&addr,
                 offsetof(struct sockaddr_un, sun_path) + 1 + length) == 0) &&
           (listen(fd, 1) == 0);
}

static void xshm_info_check_socket(xshm_info_section_t *section)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (xshm_info_try_socket(fd)) {
        xshm_info_add(section, "socket", XSHM_INFO_OK, NULL,
                      "a UNIX socket can be bound for peers to connect to",
                      NULL);
    } else {
        xshm_info_add(section, "socket", XSHM_INFO_MISSING, NULL,
                      xshm_info_format("no UNIX socket can be bound for peers "
                                       "to connect to (%s)",
                                       strerror(errno)),
                      "see the limit of open files below, and what your "
                      "container or security module forbids");
    }

    if (fd >= 0) {
        close(fd);
    }
}

static void *xshm_info_thread(void *arg)
{
    return arg;
}

static void xshm_info_check_thread(xshm_info_section_t *section)
{
    pthread_t thread;
    int       ret;

    ret = pthread_create(&thread, NULL, xshm_info_thread, NULL);
    if (ret != 0) {
        xshm_info_add(section, "thread", XSHM_INFO_MISSING, NULL,
                      xshm_info_format("the service thread cannot be started "
                                       "(%s)",
                                       strerror(ret)),
                      "see the limit of processes below");
        return;
    }

    pthread_join(thread, NULL);
    xshm_info_add(section, "thread", XSHM_INFO_OK, NULL,
                  "the service thread can be started", NULL);
}

void xshm_info_find_device_local(xshm_info_section_t *section)
{
    section->name  = "local";
    section->title = "Device local (peers on this kernel)";
    xshm_info_check_boot_id(section);
    xshm_info_check_netns(section);
    xshm_info_add_user(section);
    xshm_info_check_memory(section);
    xshm_info_check_socket(section);
    xshm_info_check_thread(section);
}
