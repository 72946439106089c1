/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <uct/xshm/platform/grant_limit.h>
#include <xshm/xshm_abi.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>


/* What a program, UCX and MPI need themselves, generously */
#define XSHM_INFO_OTHER_FDS  64
#define XSHM_INFO_OTHER_MAPS 1024

/* Descriptors of a peer process: a socket, or two if both sides connected at
 * the same time, and the two of a channel's memory until the peer has it */
#define XSHM_INFO_PEER_FDS 4

/* Mappings of a peer: data and return pages, in both directions */
#define XSHM_INFO_PEER_MAPS 4

/* Longest line of /proc/meminfo that is read at once */
#define XSHM_INFO_LINE_MAX 128

#define XSHM_INFO_KIB 1024u

/* Default of UCX_XSHM_RING_SIZE */
#define XSHM_INFO_RING_SIZE (56u * XSHM_INFO_KIB)

/* Memory of a channel: its ring, the page in front, and the return page */
#define XSHM_INFO_CHANNEL_SIZE \
    (XSHM_INFO_RING_SIZE + XSHM_ABI_RING_OFFSET + XSHM_ABI_RETURN_SIZE)

/* Pages of a channel, each of which is granted */
#define XSHM_INFO_CHANNEL_PAGES (XSHM_INFO_CHANNEL_SIZE / XSHM_ABI_PAGE_SIZE)

/* What Xen, xl and both xenstoreds give a guest by default, besides grants;
 * oxenstored has the lower quota of watches */
#define XSHM_INFO_EVENT_CHANNELS 1023
#define XSHM_INFO_WATCHES        100
#define XSHM_INFO_NODES          1000

/* What disks, network and the kernel itself take of these, generously */
#define XSHM_INFO_OTHER_WATCHES 20
#define XSHM_INFO_OTHER_NODES   200

/* What is proposed where there is no better number */
#define XSHM_INFO_WANTED_FDS   65536
#define XSHM_INFO_WANTED_MAPS  262144
#define XSHM_INFO_WANTED_TASKS 65536

/* By how much a limit is raised that is at its own upper limit */
#define XSHM_INFO_RAISE 4


static void xshm_info_add_limit(xshm_info_t *info, const char *name,
                                uint64_t value, uint64_t peers,
                                const char *text, const char *fix)
{
    xshm_info_limit_t *limit = &info->limits[info->num_limits++];

    limit->name  = name;
    limit->value = value;
    limit->peers = peers;
    limit->text  = text;
    limit->fix   = fix;
}

/* Peers that fit into what others leave */
static uint64_t
xshm_info_peers(uint64_t value, uint64_t reserved, uint64_t each)
{
    if (value == XSHM_INFO_UNLIMITED) {
        return XSHM_INFO_UNLIMITED;
    }

    return (value > reserved) ? ((value - reserved) / each) : 0;
}

static uint64_t xshm_info_rlimit(rlim_t value)
{
    return (value == RLIM_INFINITY) ? XSHM_INFO_UNLIMITED : (uint64_t)value;
}

/* The command of the shell, as far as it may; else what root has to do. More
 * than @a most would keep all users from logging in. */
static const char *xshm_info_rlimit_fix(const struct rlimit *limit,
                                        const char *option, const char *item,
                                        unsigned wanted, uintmax_t most)
{
    uintmax_t raised;

    if (limit->rlim_cur == RLIM_INFINITY) {
        return NULL;
    }

    if (limit->rlim_max == RLIM_INFINITY) {
        return xshm_info_format("ulimit %s %u", option, wanted);
    }

    if (limit->rlim_cur < limit->rlim_max) {
        return xshm_info_format("ulimit %s %ju", option,
                                (uintmax_t)limit->rlim_max);
    }

    if (limit->rlim_max >= most) {
        return NULL;
    }

    raised = (uintmax_t)limit->rlim_max * XSHM_INFO_RAISE;
    if (raised > most) {
        raised = most;
    }

    /* What is for all users, "*", is not for root */
    return xshm_info_format("echo '%s - %s %ju' | sudo tee "
                            "/etc/security/limits.d/xshm-%s.conf (then log in "
                            "again)",
                            (geteuid() == 0) ? "root" : "*", item, raised,
                            item);
}

/* The kernel's own limit for each process' limit */
static uintmax_t xshm_info_most_open_files(void)
{
    const char *line = xshm_info_read_line("/proc/sys/fs/nr_open");

    return (line == NULL) ? UINTMAX_MAX : strtoumax(line, NULL, 10);
}

static void xshm_info_add_open_files(xshm_info_t *info)
{
    struct rlimit limit = {0};
    uint64_t      value;

    getrlimit(RLIMIT_NOFILE, &limit);
    value = xshm_info_rlimit(limit.rlim_cur);
    xshm_info_add_limit(info, "open_files", value,
                        xshm_info_peers(value, XSHM_INFO_OTHER_FDS,
                                        XSHM_INFO_PEER_FDS),
                        "open files of a process: 1 or 2 for each peer "
                        "process, and 2 more while a channel is set up",
                        xshm_info_rlimit_fix(&limit, "-n", "nofile",
                                             XSHM_INFO_WANTED_FDS,
                                             xshm_info_most_open_files()));
}

static void xshm_info_add_maps(xshm_info_t *info)
{
    const char *line = xshm_info_read_line("/proc/sys/vm/max_map_count");
    uint64_t    value;

    if (line == NULL) {
        return;
    }

    value = strtoull(line, NULL, 10);
    xshm_info_add_limit(info, "memory_maps", value,
                        xshm_info_peers(value, XSHM_INFO_OTHER_MAPS,
                                        XSHM_INFO_PEER_MAPS),
                        "mappings of a process: 2 for each peer sent to, and "
                        "2 for each that sends",
                        xshm_info_format("sudo sysctl vm.max_map_count=%u",
                                         XSHM_INFO_WANTED_MAPS));
}

/* @return KiB, or zero if the kernel does not tell */
static uint64_t xshm_info_available_memory(void)
{
    uint64_t kib = 0;
    char     line[XSHM_INFO_LINE_MAX];
    FILE    *file;

    file = fopen("/proc/meminfo", "re");
    if (file == NULL) {
        return 0;
    }

    while ((kib == 0) && (fgets(line, sizeof(line), file) != NULL)) {
        /* Of other lines nothing is read */
        (void)!sscanf(line, "MemAvailable: %" SCNu64, &kib);
    }

    fclose(file);
    return kib;
}

static void xshm_info_add_memory(xshm_info_t *info)
{
    uint64_t value = xshm_info_available_memory();

    if (value == 0) {
        return;
    }

    xshm_info_add_limit(
            info, "memory_kib", value,
            xshm_info_peers(value, 0, XSHM_INFO_CHANNEL_SIZE / XSHM_INFO_KIB),
            xshm_info_format("KiB of memory available, for all "
                             "processes: %u KiB for each peer "
                             "that one sends to",
                             XSHM_INFO_CHANNEL_SIZE / XSHM_INFO_KIB),
            "export UCX_XSHM_RING_SIZE=16k (smaller rings, which "
            "are slower)");
}

static void xshm_info_add_processes(xshm_info_t *info)
{
    struct rlimit limit = {0};

    getrlimit(RLIMIT_NPROC, &limit);
    xshm_info_add_limit(info, "processes", xshm_info_rlimit(limit.rlim_cur),
                        XSHM_INFO_UNLIMITED,
                        "processes and threads of this user: xshm needs one "
                        "thread in each process, for any number of peers",
                        xshm_info_rlimit_fix(&limit, "-u", "nproc",
                                             XSHM_INFO_WANTED_TASKS,
                                             UINTMAX_MAX));
}

/* The limit has to stay below the grant table: docs/tuning.md */
static const char *xshm_info_grants_fix(long limit)
{
    long raised = xshm_grant_limit_raised(limit);

    return (raised < 0) ?
                   "max_grant_frames=N in the guest's xl.cfg first: the limit "
                   "has to stay below the entries of the grant table" :
                   xshm_info_format("echo %ld | sudo tee %s", raised,
                                    XSHM_GRANT_LIMIT_PATH);
}

static void xshm_info_add_grants(xshm_info_t *info)
{
    const char *line = xshm_info_read_line(XSHM_GRANT_LIMIT_PATH);
    long        value;

    if (line == NULL) {
        return;
    }

    value = strtol(line, NULL, 10);
    xshm_info_add_limit(info, "grants", value,
                        xshm_info_peers(value, 0, XSHM_INFO_CHANNEL_PAGES),
                        xshm_info_format("pages that this whole guest can "
                                         "grant (for the device xen): %u for "
                                         "each peer that one sends to",
                                         XSHM_INFO_CHANNEL_PAGES),
                        xshm_info_grants_fix(value));
}

/* How many of Xen's event channels the kernel and all processes have: each is
 * an interrupt to Linux */
static unsigned xshm_info_count_event_channels(void)
{
    char    *line  = NULL;
    size_t   size  = 0;
    unsigned count = 0;
    FILE    *file;

    file = fopen("/proc/interrupts", "re");
    if (file == NULL) {
        return 0;
    }

    while (getline(&line, &size, file) >= 0) {
        count += (strstr(line, " xen-") != NULL);
    }

    free(line);
    fclose(file);
    return count;
}

/* Those that Xen or xenstored do not tell to a guest: their defaults */
static void xshm_info_add_xen_defaults(xshm_info_t *info)
{
    unsigned used = xshm_info_count_event_channels();

    xshm_info_add_limit(
            info, "grant_entries", XSHM_GRANT_LIMIT_TABLE,
            xshm_info_peers(XSHM_GRANT_LIMIT_TABLE, XSHM_GRANT_LIMIT_OTHER,
                            XSHM_INFO_CHANNEL_PAGES),
            "entries of this guest's grant table, if Xen's default was not "
            "changed: for pages that are granted, also those of disks and "
            "network",
            "max_grant_frames=N in the guest's xl.cfg (512 entries each), and "
            "a start of it");
    xshm_info_add_limit(
            info, "event_channels", XSHM_INFO_EVENT_CHANNELS,
            xshm_info_peers(XSHM_INFO_EVENT_CHANNELS, used, 1),
            xshm_info_format("event channels of this guest, if xl's default "
                             "was not changed, %u of them in use: 1 for each "
                             "peer process that one waits for asleep, none "
                             "for polling",
                             used),
            "event_channels=N in the guest's xl.cfg, and a start of it");
    xshm_info_add_limit(
            info, "watches", XSHM_INFO_WATCHES,
            xshm_info_peers(XSHM_INFO_WATCHES, XSHM_INFO_OTHER_WATCHES, 1),
            "watches of this guest in xenstore, at least, if the quota was not "
            "changed (100 of oxenstored, 128 of xenstored): 1 for each "
            "process, and 1 for each guest in which it has peers",
            "sudo xenstore-control quota set watches N in the host's control "
            "domain (xenstored), or quota-maxwatch in its "
            "/etc/xen/oxenstored.conf");
    xshm_info_add_limit(
            info, "nodes", XSHM_INFO_NODES,
            xshm_info_peers(XSHM_INFO_NODES, XSHM_INFO_OTHER_NODES, 1),
            "nodes of this guest in xenstore (the quota of both): 1 for each "
            "channel, while it is set up",
            "sudo xenstore-control quota set nodes N in the host's control "
            "domain (xenstored), or quota-maxentity in its "
            "/etc/xen/oxenstored.conf");
}

void xshm_info_find_limits(xshm_info_t *info)
{
    xshm_info_add_open_files(info);
    xshm_info_add_maps(info);
    xshm_info_add_memory(info);
    xshm_info_add_processes(info);
    if (info->is_xen) {
        xshm_info_add_grants(info);
        xshm_info_add_xen_defaults(info);
    }
}
