/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_WAKE_H_
#define XSHM_XEN_WAKE_H_

#include "xen_priv.h"

/**
 * How virtual machines wake each other. An interface's wake is a handle of
 * event channels. Who wants to be woken on a channel allocates a port for the
 * peer's domain and writes its number in its line; the peer binds it when it
 * sees it. A pair that only polls has no ports. All channels between an
 * interface and a process share one.
 *
 * Threads: the service's, but for what is said.
 */

/** A port of ours, by which a process of a peer wakes an interface */
typedef struct xshm_xen_port xshm_xen_port_t;

/** A peer's port, bound to one of ours, by which this process wakes it */
typedef struct xshm_xen_bell xshm_xen_bell_t;


/** See xshm_platform_ops_t::wake_open */
ucs_status_t
xshm_xen_wake_open(xshm_platform_t *platform, xshm_wake_t **wake_p);

/** See xshm_platform_ops_t::wake_fd */
int xshm_xen_wake_fd(const xshm_wake_t *wake);

/** See xshm_platform_ops_t::wake_drain */
int xshm_xen_wake_drain(xshm_wake_t *wake);

/** See xshm_platform_ops_t::wake_close */
void xshm_xen_wake_close(xshm_wake_t *wake);

/** See xshm_platform_ops_t::wake_attach */
void xshm_xen_wake_attach(xshm_conn_t *conn, xshm_wake_t *wake);

/** See xshm_platform_ops_t::notify */
void xshm_xen_notify(xshm_conn_t *conn);

/** Has the peer of an accepted channel changed what it wants? */
void xshm_xen_wake_scan(xshm_xen_conn_t *conn);

/** Give up the ports of a channel */
void xshm_xen_wake_detach(xshm_xen_conn_t *conn);

/** Does the hypervisor know that there is no such domain (any more)? */
int xshm_xen_is_domain_gone(uint32_t domid);

/** Close what is left (at the end) */
void xshm_xen_wake_cleanup(xshm_xen_t *xen);

#endif
