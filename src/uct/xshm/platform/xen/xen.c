/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen.h"
#include "xen_region.h"
#include "xen_view.h"
#include "xen_wake.h"
#include "../complain.h"
#include "../fdset.h"
#include "../gntalloc.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>


#define XSHM_XEN_HYPERVISOR_FILE "/sys/hypervisor/type"

/* Longest path in sysfs of a device */
#define XSHM_XEN_SYSFS_MAX 64

/* Events of xenstore that are noted at once: who sends more, faster than that,
 * shall not hold this thread */
#define XSHM_XEN_MAX_EVENTS 1024

/* How long to look at what has changed, before others get a turn */
#define XSHM_XEN_TURN_MS 10

#define XSHM_XEN_MSEC_PER_SEC  1000u
#define XSHM_XEN_NSEC_PER_MSEC 1000000u


/* What must be there, and what makes it be there */
static const struct {
    const char *path;
    const char *module;
} xshm_xen_devices[] = {{XSHM_GNTALLOC_PATH, "xen-gntalloc"},
                        {"/dev/xen/gntdev", "xen-gntdev"},
                        {"/dev/xen/evtchn", "xen-evtchn"},
                        {"/dev/xen/xenbus", NULL}};

#define XSHM_XEN_NUM_DEVICES \
    (sizeof(xshm_xen_devices) / sizeof(xshm_xen_devices[0]))


static uint64_t xshm_xen_clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return ((uint64_t)now.tv_sec * XSHM_XEN_MSEC_PER_SEC) +
           ((uint64_t)now.tv_nsec / XSHM_XEN_NSEC_PER_MSEC);
}

uint64_t xshm_xen_now_ms(void)
{
    return xshm_xen_clock_ms(CLOCK_MONOTONIC);
}

uint32_t xshm_xen_now_s(void)
{
    return (uint32_t)(xshm_xen_clock_ms(CLOCK_BOOTTIME) /
                      XSHM_XEN_MSEC_PER_SEC);
}

void xshm_xen_kick(xshm_xen_t *xen)
{
    const uint64_t one = 1;

    /* EAGAIN: it is readable already */
    (void)!write(xen->kick_fd, &one, sizeof(one));
}

static int xshm_xen_is_guest(void)
{
    char  type[8] = "";
    FILE *file    = fopen(XSHM_XEN_HYPERVISOR_FILE, "re");

    if (file == NULL) {
        return 0;
    }

    (void)!fgets(type, sizeof(type), file);
    fclose(file);
    return !strcmp(type, "xen\n");
}

/* Does the kernel have a device that has lost its node? */
static int
xshm_xen_find_number(const char *path, unsigned *major_p, unsigned *minor_p)
{
    const char *name = path + sizeof("/dev/xen/") - 1;
    char        sysfs[XSHM_XEN_SYSFS_MAX];
    FILE       *file;
    int         num_read;

    snprintf(sysfs, sizeof(sysfs), "/sys/class/misc/xen!%s/dev", name);
    file = fopen(sysfs, "re");
    if (file == NULL) {
        return 0;
    }

    num_read = fscanf(file, "%u:%u", major_p, minor_p);
    fclose(file);
    return num_read == 2;
}

/* A module that is loaded already does not bring back a node that was
 * removed */
static void xshm_xen_explain_missing(const char *path, const char *module,
                                     char *reason, size_t max)
{
    unsigned major, minor;

    if (xshm_xen_find_number(path, &major, &minor)) {
        snprintf(reason, max,
                 "%s is not there, though the kernel has the device: \"sudo "
                 "mknod %s c %u %u && sudo xshm_setup $USER\" makes it",
                 path, path, major, minor);
    } else if (module != NULL) {
        snprintf(reason, max, "%s is not there: \"sudo modprobe %s\" makes it",
                 path, module);
    } else {
        snprintf(reason, max,
                 "%s is not there: use a kernel with Xen's drivers "
                 "(CONFIG_XEN), as Debian's linux-image-amd64",
                 path);
    }
}

static int xshm_xen_probe_device(unsigned index, char *reason, size_t max)
{
    const char *path   = xshm_xen_devices[index].path;
    const char *module = xshm_xen_devices[index].module;

    if (access(path, R_OK | W_OK) == 0) {
        return 1;
    }

    if (errno == EACCES) {
        snprintf(reason, max,
                 "%s may not be used by this user: \"sudo xshm_setup $USER\" "
                 "lets it, from the next login on",
                 path);
    } else if (errno == ENOENT) {
        xshm_xen_explain_missing(path, module, reason, max);
    } else {
        snprintf(reason, max, "%s cannot be used (%s)", path, strerror(errno));
    }

    return 0;
}

static int xshm_xen_probe(char *reason, size_t max)
{
    unsigned i;

    if (!xshm_xen_is_guest()) {
        snprintf(reason, max, "this is not a virtual machine on Xen");
        return 0;
    }

    for (i = 0; i < XSHM_XEN_NUM_DEVICES; ++i) {
        if (!xshm_xen_probe_device(i, reason, max)) {
            return 0;
        }
    }

    return 1;
}

static ucs_status_t xshm_xen_poll_fd(xshm_xen_t *xen, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return (epoll_ctl(xen->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) ?
                   UCS_OK :
                   UCS_ERR_IO_ERROR;
}

ucs_status_t xshm_xen_poll_store(xshm_xen_t *xen)
{
    return xshm_xen_poll_fd(xen, xshm_xen_store_fd(&xen->store));
}

static ucs_status_t xshm_xen_open_gnttab(xshm_xen_t *xen)
{
    /* It would write a line for each page that a peer offers and has not
     * granted; we write our own, and not without end */
    xen->logger =
            (xentoollog_logger *)xtl_createlogger_stdiostream(stderr,
                                                              XTL_CRITICAL, 0);
    if (xen->logger == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    xen->gnttab = xengnttab_open(xen->logger, 0);
    if (xen->gnttab == NULL) {
        xtl_logger_destroy(xen->logger);
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(xengnttab_fd(xen->gnttab));
    return UCS_OK;
}

static void xshm_xen_close_gnttab(xshm_xen_t *xen)
{
    xshm_fdset_forget(xengnttab_fd(xen->gnttab));
    xengnttab_close(xen->gnttab);
    xtl_logger_destroy(xen->logger);
}

static ucs_status_t xshm_xen_open_fds(xshm_xen_t *xen)
{
    xen->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (xen->epoll_fd < 0) {
        goto err;
    }

    xshm_fdset_add(xen->epoll_fd);
    xen->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (xen->kick_fd < 0) {
        goto err_close_epoll;
    }

    xshm_fdset_add(xen->kick_fd);
    xen->gntalloc_fd = xshm_gntalloc_open();
    if (xen->gntalloc_fd < 0) {
        goto err_close_kick;
    }

    if (xshm_xen_open_gnttab(xen) != UCS_OK) {
        goto err_close_gntalloc;
    }

    if (xshm_xen_poll_fd(xen, xen->kick_fd) != UCS_OK) {
        goto err_close_gnttab;
    }

    return UCS_OK;

err_close_gnttab:
    xshm_xen_close_gnttab(xen);
err_close_gntalloc:
    xshm_fdset_close(xen->gntalloc_fd);
err_close_kick:
    xshm_fdset_close(xen->kick_fd);
err_close_epoll:
    xshm_fdset_close(xen->epoll_fd);
err:
    ucs_error("xshm: cannot open Xen's devices: %m. If there are too many open "
              "files, raise ulimit -n");
    return UCS_ERR_IO_ERROR;
}

static void xshm_xen_close_fds(xshm_xen_t *xen)
{
    xshm_xen_close_gnttab(xen);
    xshm_fdset_close(xen->gntalloc_fd);
    xshm_fdset_close(xen->kick_fd);
    xshm_fdset_close(xen->epoll_fd);
}

static ucs_status_t xshm_xen_open_store(xshm_xen_t *xen)
{
    ucs_status_t status;

    if (!xshm_xen_store_answers()) {
        ucs_warn("xshm: device xen cannot be used: xenstored has not answered "
                 "in %d seconds. If it was started anew, this machine has to "
                 "be, too",
                 XSHM_XEN_STORE_TIMEOUT);
        return UCS_ERR_TIMED_OUT;
    }

    status = xshm_xen_store_open(&xen->store);
    if (status != UCS_OK) {
        ucs_error("xshm: cannot reach xenstore: %m. /dev/xen/xenbus must be "
                  "there and open to this user");
        return status;
    }

    /* Whom nobody can find may have another transport */
    status = xshm_xen_publish(xen);
    if ((status != UCS_OK) && (status != UCS_ERR_NO_RESOURCE)) {
        goto err_close;
    }

    xshm_xen_collect_garbage(xen);
    if (xshm_xen_listen(xen) != UCS_OK) {
        xshm_xen_listen_again(xen);
    }

    return UCS_OK;

err_close:
    xshm_xen_store_close(&xen->store);
    return status;
}

static ucs_status_t xshm_xen_init_locks(xshm_xen_t *xen)
{
    pthread_condattr_t attr;

    if (pthread_condattr_init(&attr) != 0) {
        return UCS_ERR_NO_MEMORY;
    }

    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&xen->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&xen->lock, NULL);
    return UCS_OK;
}

static void xshm_xen_cleanup_locks(xshm_xen_t *xen)
{
    pthread_cond_destroy(&xen->cond);
    pthread_mutex_destroy(&xen->lock);
}

static xshm_xen_t *
xshm_xen_new(uint64_t process, const xshm_platform_sink_t *sink)
{
    xshm_xen_t *xen = calloc(1, sizeof(*xen));

    if (xen == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes", sizeof(*xen));
        return NULL;
    }

    xen->super.ops     = &xshm_xen_ops;
    xen->super.sink    = sink;
    xen->super.process = process;
    xen->connected     = XSHM_DOMAIN_SAME;
    xshm_xen_news_init(&xen->news);
    ucs_list_head_init(&xen->domains);
    ucs_list_head_init(&xen->refusals);
    ucs_list_head_init(&xen->bells);
    xshm_xen_lookups_init(&xen->lookups);
    ucs_list_head_init(&xen->quarantine);
    ucs_list_head_init(&xen->pool);
    ucs_list_head_init(&xen->lingering);
    return xen;
}

static ucs_status_t xshm_xen_open(uint64_t                    process,
                                  const xshm_platform_sink_t *sink,
                                  xshm_platform_t           **platform_p)
{
    xshm_xen_t  *xen = xshm_xen_new(process, sink);
    ucs_status_t status;

    if (xen == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    status = xshm_xen_init_locks(xen);
    if (status != UCS_OK) {
        goto err_free;
    }

    status = xshm_xen_open_fds(xen);
    if (status != UCS_OK) {
        goto err_cleanup_locks;
    }

    status = xshm_xen_open_store(xen);
    if (status != UCS_OK) {
        goto err_close_fds;
    }

    xshm_xen_region_attach(xen);
    *platform_p = &xen->super;
    return UCS_OK;

err_close_fds:
    xshm_xen_close_fds(xen);
err_cleanup_locks:
    xshm_xen_cleanup_locks(xen);
err_free:
    free(xen);
    return status;
}

static void xshm_xen_end_all(xshm_xen_t *xen)
{
    xshm_xen_domain_t *domain;

    ucs_list_for_each(domain, &xen->domains, list) {
        xshm_xen_domain_fail(xen, domain);
    }
}

static void xshm_xen_close(xshm_platform_t *platform)
{
    xshm_xen_t *xen = (xshm_xen_t *)platform;

    xshm_xen_region_attach(NULL);
    xshm_xen_end_all(xen);
    xshm_xen_refusal_cleanup(xen);
    xshm_xen_store_close(&xen->store);
    xshm_xen_news_cleanup(&xen->news);
    xshm_xen_domain_cleanup(xen);
    xshm_xen_lookups_cleanup(&xen->lookups);
    xshm_xen_mem_cleanup(xen);
    xshm_xen_wake_cleanup(xen);
    xshm_xen_close_fds(xen);
    xshm_xen_cleanup_locks(xen);
    free(xen);
}

static int xshm_xen_event_fd(const xshm_platform_t *platform)
{
    return ((const xshm_xen_t *)platform)->epoll_fd;
}

static int xshm_xen_domain(const void *dev_addr)
{
    return ((const xshm_xen_dev_addr_t *)dev_addr)->domid;
}

/* This machine was restored, or has moved: nothing that was granted or mapped
 * is valid any more, even if it has got the same number again. */
static void xshm_xen_handle_resume(xshm_xen_t *xen)
{
    (void)xshm_xen_publish(xen);
    ucs_debug("xshm: this virtual machine has been restored, as domain %u",
              xshm_xen_domid(xen));
    ++xen->epoch;
    xshm_xen_mem_orphan(xen);
    xshm_xen_region_orphan();
    xshm_xen_end_all(xen);
    xshm_xen_forget_lookups(xen, UINT32_MAX);
}

/* A watch fires when it is set. The kernel sets all of them again, without
 * being told, when the machine is resumed; not when a suspension was cancelled.
 * Nobody changes this node itself. */
static void xshm_xen_note_domains(xshm_xen_t *xen)
{
    xen->was_resumed  = xen->was_resumed || xen->is_listening;
    xen->is_listening = 1;
}

static int
xshm_xen_is_node_ours(const xshm_xen_t *xen, const xshm_xen_path_t *path)
{
    if ((path->domid == xshm_xen_domid(xen)) ||
        (path->peer != xshm_xen_domid(xen))) {
        return 0;
    }

    return (path->folder == XSHM_XEN_REQUESTS) ?
                   xshm_xen_name_is_for(path->name, xen->super.process) :
                   xshm_xen_name_is_from(path->name, xen->super.process);
}

static void xshm_xen_note_change(xshm_xen_t *xen, uint32_t domid, char folder,
                                 const char *name)
{
    if (!xshm_xen_news_add(&xen->news, domid, folder, name,
                           xshm_xen_now_ms())) {
        xshm_complain("xshm: domain %u changes its nodes in xenstore faster "
                      "than they can be read: a change was ignored",
                      domid);
    }
}

/* That a domain which we have nothing to do with changes who it is costs
 * nothing */
static void xshm_xen_note_event(xshm_xen_t *xen, const char *path)
{
    xshm_xen_path_t parsed;
    uint32_t        domid;

    if (!strcmp(path, XSHM_XEN_DOMAINS)) {
        xshm_xen_note_domains(xen);
    } else if (xshm_xen_path_parse(path, &parsed)) {
        if (xshm_xen_is_node_ours(xen, &parsed)) {
            xshm_xen_note_change(xen, parsed.domid, parsed.folder, parsed.name);
        }
    } else if (xshm_xen_id_path_parse(path, &domid) &&
               (xshm_xen_domain_find(xen, domid) != NULL)) {
        xshm_xen_note_change(xen, domid, XSHM_XEN_IDENTITY, "");
    }
}

/* Those that are left make the descriptor readable again */
void xshm_xen_note_events(xshm_xen_t *xen)
{
    xshm_xen_event_t event;
    const char      *path;
    int              i;

    for (i = 0; i < XSHM_XEN_MAX_EVENTS; ++i) {
        path = xshm_xen_store_next(&xen->store, &event);
        if (path == NULL) {
            break;
        }

        xshm_xen_note_event(xen, path);
        free(event);
    }
}

static void xshm_xen_handle_identity(xshm_xen_t *xen, uint32_t domid)
{
    xshm_xen_domain_t *domain = xshm_xen_domain_find(xen, domid);

    if (domain != NULL) {
        xshm_xen_domain_check(xen, domain);
    }
}

static void
xshm_xen_handle_change(xshm_xen_t *xen, const xshm_xen_news_item_t *item)
{
    xshm_xen_path_t path = {.domid  = item->domid,
                            .folder = item->folder,
                            .peer   = xshm_xen_domid(xen),
                            .name   = item->name};

    switch (item->folder) {
    case XSHM_XEN_IDENTITY:
        xshm_xen_handle_identity(xen, item->domid);
        break;
    case XSHM_XEN_REQUESTS:
        xshm_xen_handle_request(xen, &path);
        break;
    default:
        xshm_xen_handle_refusal(xen, &path);
        break;
    }
}

/* What comes while xenstored is asked about one change is noted before the next
 * one is looked at: no more than that waits in libxenstore */
static void xshm_xen_handle_changes(xshm_xen_t *xen)
{
    uint64_t             end = xshm_xen_now_ms() + XSHM_XEN_TURN_MS;
    xshm_xen_news_item_t item;
    uint64_t             now;

    do {
        xshm_xen_note_events(xen);
        if (xen->was_resumed) {
            xen->was_resumed = 0;
            xshm_xen_handle_resume(xen);
        }

        now = xshm_xen_now_ms();
        if (!xshm_xen_news_take(&xen->news, now, &item)) {
            break;
        }

        xshm_xen_handle_change(xen, &item);
        /* Who asks whether a machine is there does not wait for all of them */
        xshm_xen_answer_lookups(xen);
    } while (now < end);
}

static void xshm_xen_try_to_be_found(xshm_xen_t *xen)
{
    uint64_t now = xshm_xen_now_ms();

    if (now < xen->next_listen) {
        return;
    }

    xen->next_listen = now + XSHM_XEN_LISTEN_MS;
    /* It may want to be left alone for longer */
    if (xen->is_deaf) {
        xshm_xen_listen_again(xen);
    }

    if (xen->is_hidden && !xen->is_deaf) {
        (void)xshm_xen_publish(xen);
    }
}

static int xshm_xen_sooner(int wait, int other)
{
    return ((wait < 0) || ((other >= 0) && (other < wait))) ? other : wait;
}

static int xshm_xen_dispatch(xshm_platform_t *platform)
{
    xshm_xen_t *xen = (xshm_xen_t *)platform;
    uint64_t    count;
    int         wait;

    (void)!read(xen->kick_fd, &count, sizeof(count));
    xshm_xen_answer_lookups(xen);
    if (xshm_xen_is_unreachable(xen)) {
        xshm_xen_try_to_be_found(xen);
    }

    xshm_xen_handle_changes(xen);
    wait = xshm_xen_scan(xen);
    if (xshm_xen_is_unreachable(xen) && (wait < 0)) {
        wait = XSHM_XEN_LISTEN_MS;
    }

    return xshm_xen_sooner(wait,
                           xshm_xen_news_wait(&xen->news, xshm_xen_now_ms()));
}

const xshm_platform_ops_t xshm_xen_ops = {
        .device        = "xen",
        .dev_addr_size = sizeof(xshm_xen_dev_addr_t),
        .is_foreign    = 1,
        .is_scarce     = 1,
        .is_here       = xshm_xen_is_guest,
        .probe         = xshm_xen_probe,
        .open          = xshm_xen_open,
        .close         = xshm_xen_close,
        .get_dev_addr  = xshm_xen_get_dev_addr,
        .is_reachable  = xshm_xen_is_reachable,
        .domain        = xshm_xen_domain,
        .own_domain    = xshm_xen_own_domain,
        .event_fd      = xshm_xen_event_fd,
        .dispatch      = xshm_xen_dispatch,
        .mem_check     = xshm_xen_mem_check,
        .mem_alloc     = xshm_xen_mem_alloc,
        .mem_linger    = xshm_xen_mem_linger,
        .mem_free      = xshm_xen_mem_free,
        .connect       = xshm_xen_connect,
        .map           = xshm_xen_map,
        .accept        = xshm_xen_accept,
        .refuse        = xshm_xen_refuse,
        .disconnect    = xshm_xen_disconnect,
        .wake_open     = xshm_xen_wake_open,
        .wake_fd       = xshm_xen_wake_fd,
        .wake_drain    = xshm_xen_wake_drain,
        .wake_close    = xshm_xen_wake_close,
        .wake_attach   = xshm_xen_wake_attach,
        .notify        = xshm_xen_notify,
        .region_alloc  = xshm_xen_region_alloc,
        .region_free   = xshm_xen_region_free,
        .region_ask    = xshm_xen_region_ask,
        .region_unmap  = xshm_xen_region_unmap,

        .region_num_refused = xshm_xen_region_num_refused,
};
