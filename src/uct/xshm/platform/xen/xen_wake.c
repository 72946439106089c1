/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_wake.h"
#include "../complain.h"
#include "../fdset.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <xenevtchn.h>

/*
 * The kernel masks a port when it has told of it, until we unmask it. So
 * however often a peer notifies, an interface that does not drain hears of it
 * once, and one that drains takes a bounded number at a time.
 *
 * Where there are no more ports, the peer never acknowledges, and who sleeps
 * looks by a timer: later, but nothing is lost.
 */

/* Event channels, of the few that this machine has (1023), that one domain can
 * make a process allocate: for that many of its processes that sleep, half of
 * it for each side's. The others are looked at by a timer. */
#define XSHM_XEN_MAX_PORTS 128u

/* No domain has a port of this number that could be bound */
#define XSHM_XEN_NO_PORT 0

/* Notifications that are taken at a time: the rest is still there then */
#define XSHM_XEN_MAX_DRAIN 64


struct xshm_wake {
    xenevtchn_handle *evtchn;
    unsigned          refs;  /* The interface, and each port */
    ucs_list_link_t   ports; /* The service's */
};


struct xshm_xen_port {
    ucs_list_link_t list; /* In the wake's ports */
    xshm_wake_t    *wake;
    uint32_t        epoch;
    uint32_t        domid;
    char            process[XSHM_XEN_NAME_PROCESS + 1];
    unsigned        refs; /* Channels */
    evtchn_port_t   port;
};


struct xshm_xen_bell {
    ucs_list_link_t list; /* In the platform's bells */
    uint32_t        epoch;
    uint32_t        domid;
    uint32_t        remote_port;
    unsigned        refs; /* Channels */
    evtchn_port_t   port;
};


static xshm_xen_t *xshm_xen_wake_xen(const xshm_xen_conn_t *conn)
{
    return (xshm_xen_t *)conn->super.platform;
}

static int xshm_xen_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return (flags >= 0) && (fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

/* Reading of it would wait, if it were not told otherwise */
static xenevtchn_handle *xshm_xen_evtchn_open(void)
{
    xenevtchn_handle *evtchn = xenevtchn_open(NULL, 0);

    if ((evtchn == NULL) || !xshm_xen_set_nonblock(xenevtchn_fd(evtchn))) {
        xshm_complain("xshm: cannot open /dev/xen/evtchn: %m. If there are too "
                      "many open files, raise ulimit -n");
        xenevtchn_close(evtchn);
        return NULL;
    }

    xshm_fdset_add(xenevtchn_fd(evtchn));
    return evtchn;
}

static void xshm_xen_evtchn_close(xenevtchn_handle *evtchn)
{
    xshm_fdset_forget(xenevtchn_fd(evtchn));
    xenevtchn_close(evtchn);
}

ucs_status_t xshm_xen_wake_open(xshm_platform_t *platform, xshm_wake_t **wake_p)
{
    xshm_wake_t *wake = calloc(1, sizeof(*wake));

    (void)platform;

    if (wake == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes to be woken by",
                  sizeof(*wake));
        return UCS_ERR_NO_MEMORY;
    }

    wake->evtchn = xshm_xen_evtchn_open();
    if (wake->evtchn == NULL) {
        free(wake);
        return UCS_ERR_IO_ERROR;
    }

    wake->refs = 1;
    ucs_list_head_init(&wake->ports);
    *wake_p = wake;
    return UCS_OK;
}

int xshm_xen_wake_fd(const xshm_wake_t *wake)
{
    return xenevtchn_fd(wake->evtchn);
}

int xshm_xen_wake_drain(xshm_wake_t *wake)
{
    xenevtchn_port_or_error_t port;
    int                       i;

    for (i = 0; i < XSHM_XEN_MAX_DRAIN; ++i) {
        port = xenevtchn_pending(wake->evtchn);
        if (port < 0) {
            break;
        }

        /* The rings are looked at after this */
        (void)xenevtchn_unmask(wake->evtchn, (evtchn_port_t)port);
    }

    return i > 0;
}

static void xshm_xen_wake_put(xshm_wake_t *wake)
{
    if (__atomic_sub_fetch(&wake->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        xshm_xen_evtchn_close(wake->evtchn);
        free(wake);
    }
}

void xshm_xen_wake_close(xshm_wake_t *wake)
{
    xshm_xen_wake_put(wake);
}

/* The process at the other end: of a request, its name tells who sent it */
static void xshm_xen_conn_process(const xshm_xen_conn_t *conn, char *process)
{
    xshm_xen_name_process(process, conn->name, !conn->super.is_sender);
}

static xshm_xen_port_t *
xshm_xen_port_find(xshm_xen_conn_t *conn, xshm_wake_t *wake)
{
    char             process[XSHM_XEN_NAME_PROCESS + 1];
    xshm_xen_port_t *port;

    xshm_xen_conn_process(conn, process);
    ucs_list_for_each(port, &wake->ports, list) {
        if ((port->domid == conn->domain->domid) &&
            (port->epoch == xshm_xen_wake_xen(conn)->epoch) &&
            !strcmp(port->process, process)) {
            return port;
        }
    }

    return NULL;
}

/* Once until it works again */
static void xshm_xen_complain_ports(xshm_xen_t *xen, uint32_t domid)
{
    if (!xen->has_no_ports) {
        xen->has_no_ports = 1;
        ucs_warn("xshm: cannot allocate an event channel to domain %u: %m. "
                 "Programs that sleep wake up later. If there are no more, "
                 "raise event_channels in this virtual machine's xl.cfg "
                 "(1023 by default), and start it anew",
                 domid);
    }
}

/* A peer chooses how many processes and ports it pretends to have */
static int xshm_xen_may_have_port(const xshm_xen_domain_t *domain)
{
    if (domain->num_ports < XSHM_XEN_MAX_PORTS) {
        return 1;
    }

    xshm_complain("xshm: domain %u has %u event channels with this process: "
                  "no more are allocated, and programs that sleep wake up "
                  "later",
                  domain->domid, domain->num_ports);
    return 0;
}

static void xshm_xen_forget_port(xshm_xen_t *xen, uint32_t domid)
{
    --xshm_xen_domain_find(xen, domid)->num_ports;
}

static xshm_xen_port_t *
xshm_xen_port_new(xshm_xen_conn_t *conn, xshm_wake_t *wake)
{
    xshm_xen_t               *xen   = xshm_xen_wake_xen(conn);
    uint32_t                  domid = conn->domain->domid;
    xenevtchn_port_or_error_t local_port;
    xshm_xen_port_t          *port;

    port = xshm_xen_may_have_port(conn->domain) ? calloc(1, sizeof(*port)) :
                                                  NULL;
    if (port == NULL) {
        return NULL;
    }

    local_port = xenevtchn_bind_unbound_port(wake->evtchn, domid);
    if (local_port < 0) {
        xshm_xen_complain_ports(xen, domid);
        free(port);
        return NULL;
    }

    xen->has_no_ports = 0;
    port->wake        = wake;
    port->epoch       = xen->epoch;
    port->domid       = domid;
    port->port        = (evtchn_port_t)local_port;
    xshm_xen_conn_process(conn, port->process);
    __atomic_add_fetch(&wake->refs, 1, __ATOMIC_RELAXED);
    ++conn->domain->num_ports;
    ucs_list_add_tail(&wake->ports, &port->list);
    return port;
}

static void xshm_xen_port_put(xshm_xen_t *xen, xshm_xen_port_t *port)
{
    if (--port->refs > 0) {
        return;
    }

    xshm_xen_forget_port(xen, port->domid);
    ucs_list_del(&port->list);
    (void)xenevtchn_unbind(port->wake->evtchn, port->port);
    xshm_xen_wake_put(port->wake);
    free(port);
}

static xshm_abi_wake_t *xshm_xen_own_line(const xshm_xen_conn_t *conn)
{
    return conn->super.is_sender ?
                   &((xshm_abi_data_t *)conn->mem->super.data)->wake :
                   &((xshm_abi_return_t *)conn->mem->super.ret)->wake;
}

static const xshm_abi_wake_t *xshm_xen_peer_line(const xshm_xen_conn_t *conn)
{
    return conn->super.is_sender ?
                   &((const xshm_abi_return_t *)conn->mem->super.ret)->wake :
                   &((const xshm_abi_data_t *)conn->mem->super.data)->wake;
}

/* What is wanted stands in the line already; the peer looks there by itself */
void xshm_xen_wake_attach(xshm_conn_t *super, xshm_wake_t *wake)
{
    xshm_xen_conn_t *conn = (xshm_xen_conn_t *)super;

    if ((wake == NULL) || (conn->port != NULL) ||
        (conn->state != XSHM_XEN_CONN_ACCEPTED)) {
        return;
    }

    conn->port = xshm_xen_port_find(conn, wake);
    if (conn->port == NULL) {
        conn->port = xshm_xen_port_new(conn, wake);
    }

    if (conn->port != NULL) {
        ++conn->port->refs;
        __atomic_store_n(&xshm_xen_own_line(conn)->port, conn->port->port,
                         __ATOMIC_RELEASE);
    }
}

static xshm_xen_bell_t *
xshm_xen_bell_find(xshm_xen_t *xen, uint32_t domid, uint32_t remote_port)
{
    xshm_xen_bell_t *bell;

    ucs_list_for_each(bell, &xen->bells, list) {
        if ((bell->domid == domid) && (bell->remote_port == remote_port) &&
            (bell->epoch == xen->epoch)) {
            return bell;
        }
    }

    return NULL;
}

static int xshm_xen_has_evtchn(xshm_xen_t *xen)
{
    if (xen->evtchn == NULL) {
        xen->evtchn = xshm_xen_evtchn_open();
    }

    return xen->evtchn != NULL;
}

/* Only a port that this domain has allocated for ours can be bound */
static xshm_xen_bell_t *xshm_xen_bell_new(xshm_xen_t        *xen,
                                          xshm_xen_domain_t *domain,
                                          uint32_t           remote_port)
{
    uint32_t                  domid = domain->domid;
    xenevtchn_port_or_error_t port;
    xshm_xen_bell_t          *bell;

    bell = (xshm_xen_may_have_port(domain) && xshm_xen_has_evtchn(xen)) ?
                   calloc(1, sizeof(*bell)) :
                   NULL;
    if (bell == NULL) {
        return NULL;
    }

    port = xenevtchn_bind_interdomain(xen->evtchn, domid, remote_port);
    if (port < 0) {
        if (errno == ENOSPC) {
            xshm_xen_complain_ports(xen, domid);
        } else {
            ucs_debug("xshm: cannot bind port %u of domain %u: %m", remote_port,
                      domid);
        }
        free(bell);
        return NULL;
    }

    bell->epoch       = xen->epoch;
    bell->domid       = domid;
    bell->remote_port = remote_port;
    bell->port        = (evtchn_port_t)port;
    ++domain->num_ports;
    ucs_list_add_tail(&xen->bells, &bell->list);
    return bell;
}

static void xshm_xen_bell_put(xshm_xen_t *xen, xshm_xen_bell_t *bell)
{
    if (--bell->refs > 0) {
        return;
    }

    xshm_xen_forget_port(xen, bell->domid);
    ucs_list_del(&bell->list);
    (void)xenevtchn_unbind(xen->evtchn, bell->port);
    free(bell);
}

/* A channel keeps its first bell: its owner's thread may be using it */
static void xshm_xen_wake_bind(xshm_xen_conn_t *conn, uint32_t remote_port)
{
    xshm_xen_t *xen   = xshm_xen_wake_xen(conn);
    uint32_t    domid = conn->domain->domid;

    conn->bell = xshm_xen_bell_find(xen, domid, remote_port);
    if (conn->bell == NULL) {
        conn->bell = xshm_xen_bell_new(xen, conn->domain, remote_port);
    }

    if (conn->bell != NULL) {
        ++conn->bell->refs;
    }
}

void xshm_xen_wake_scan(xshm_xen_conn_t *conn)
{
    const xshm_abi_wake_t *line = xshm_xen_peer_line(conn);
    uint32_t wants = __atomic_load_n(&line->wants, __ATOMIC_RELAXED);
    uint32_t port  = __atomic_load_n(&line->port, __ATOMIC_ACQUIRE);

    /* One try for each number that the peer gives */
    if ((port != 0) && (port != conn->seen_port) && (conn->bell == NULL)) {
        conn->seen_port = port;
        xshm_xen_wake_bind(conn, port);
    }

    if ((wants != conn->seen_wants) && (conn->bell != NULL)) {
        conn->seen_wants = wants;
        conn->super.platform->sink->attention(&conn->super);
    }
}

void xshm_xen_notify(xshm_conn_t *super)
{
    xshm_xen_conn_t *conn = (xshm_xen_conn_t *)super;

    (void)xenevtchn_notify(xshm_xen_wake_xen(conn)->evtchn, conn->bell->port);
}

void xshm_xen_wake_detach(xshm_xen_conn_t *conn)
{
    if (conn->port != NULL) {
        xshm_xen_port_put(xshm_xen_wake_xen(conn), conn->port);
        conn->port = NULL;
    }

    if (conn->bell != NULL) {
        xshm_xen_bell_put(xshm_xen_wake_xen(conn), conn->bell);
        conn->bell = NULL;
    }
}

int xshm_xen_is_domain_gone(uint32_t domid)
{
    xenevtchn_handle *evtchn = xshm_xen_evtchn_open();
    int               is_gone;

    if (evtchn == NULL) {
        return 0;
    }

    /* The port cannot be bound; which error says so tells about the domain */
    is_gone =
            (xenevtchn_bind_interdomain(evtchn, domid, XSHM_XEN_NO_PORT) < 0) &&
            (errno == ESRCH);
    xshm_xen_evtchn_close(evtchn);
    return is_gone;
}

void xshm_xen_wake_cleanup(xshm_xen_t *xen)
{
    if (xen->evtchn != NULL) {
        xshm_xen_evtchn_close(xen->evtchn);
    }
}
