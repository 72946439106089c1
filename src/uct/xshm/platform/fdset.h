/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_FDSET_H_
#define XSHM_FDSET_H_

/**
 * All descriptors that the transport has open in this process. A forked child
 * closes them at once, so that the end of its parent is noticed by the
 * parent's peers even while the child lives on. (exec is covered by
 * close-on-exec.)
 *
 * Threads: any.
 */

/** Remember a descriptor. @return The same descriptor. */
int xshm_fdset_add(int fd);

/** Close a descriptor that was added. A negative one is ignored. */
void xshm_fdset_close(int fd);

/** Remember no more a descriptor that somebody else closes */
void xshm_fdset_forget(int fd);

/** Have @a func called in each child, to give up what is no descriptor. It may
 *  not take locks that a thread of the parent may hold. One function only. */
void xshm_fdset_at_child(void (*func)(void));

/** Number of descriptors that are open now */
unsigned xshm_fdset_count(void);

/** Not zero in a child of the process that used the transport */
int xshm_fdset_is_child(void);

#endif
