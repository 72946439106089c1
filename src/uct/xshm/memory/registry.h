/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_REGISTRY_H_
#define XSHM_REGISTRY_H_

#include "../platform/platform.h"

/**
 * The memory of this process that others may access: registrations, and the
 * regions (allocated memory that peers can map) that they may lie in.
 *
 * A registration is named by its place in the table and by a random number of
 * its own, which is never used again: a key of one that has ended is refused,
 * also when its place has been taken by another one.
 *
 * Threads: any. Who carries out an operation pins the registration meanwhile,
 * without a lock; who ends it waits for those:
 *
 *   PIN     (user)  counts itself in, then looks whether it is still there.
 *   RETIRE  (owner) takes it away, then looks whether anybody is counted.
 *           Pairs with PIN: both are sequentially consistent, so at least one
 *           of the two sees the other.
 *   UNPIN   (user)  counts itself out, after its last access.
 *   DRAIN   (owner) sees the count at zero; pairs with UNPIN: all accesses were
 *           before the memory is the owner's alone again.
 */

typedef struct xshm_reg {
    uint64_t         id;       /**< Random name, or zero: not in use */
    uint32_t         num_pins; /**< Operations under way */
    uint32_t         slot;     /**< Place in the table */
    uint64_t         base;
    uint64_t         length;
    unsigned         rights;   /**< XSHM_RIGHT_xx */
    int              is_owner; /**< Of the region, which it ends with */
    unsigned         flags;    /**< XSHM_KEY_xx */
    xshm_region_t   *region;   /**< It can be mapped, or NULL */
    struct xshm_reg *next;     /**< In the list of free ones */
} xshm_reg_t;


/**
 * Register memory. If all of it lies in a region, peers can map that.
 *
 * @param [in] flags  XSHM_KEY_xx, for its keys.
 *
 * @return UCS_ERR_NO_MEMORY: the table is full.
 */
ucs_status_t xshm_reg_add(void *address, size_t length, unsigned rights,
                          unsigned flags, xshm_reg_t **reg_p);

/** Allocate a region by xshm_platform_ops_t::region_alloc of @a ops, and
 *  register all of it. The name in @a spec is filled here. */
ucs_status_t xshm_reg_alloc(const xshm_platform_ops_t *ops,
                            xshm_region_spec_t *spec, xshm_reg_t **reg_p);

/**
 * End a registration, after operations that are under way. Its region is freed
 * as soon as nobody else uses it.
 */
void xshm_reg_remove(xshm_reg_t *reg);

/** Fill the key that names a registration in process @a process of domain
 *  @a domain, or XSHM_DOMAIN_SAME: not known */
void xshm_reg_key(const xshm_reg_t *reg, uint64_t process, int domain,
                  xshm_abi_key_t *key);

/**
 * Start to access memory as a peer asks.
 *
 * @param [in] rights  All that is needed, XSHM_RIGHT_xx.
 *
 * @return NULL: refused. Else to be unpinned soon.
 */
xshm_reg_t *xshm_reg_pin(uint32_t slot, uint64_t id, uint64_t address,
                         uint64_t length, unsigned rights);

/** Be done with it */
static inline void xshm_reg_unpin(xshm_reg_t *reg)
{
    /* UNPIN: pairs with DRAIN */
    __atomic_sub_fetch(&reg->num_pins, 1, __ATOMIC_RELEASE);
}

/** Find the region that a peer asks for, and keep it, or NULL: refused */
xshm_region_t *xshm_reg_get_region(uint32_t slot, uint64_t id);

/** Be done with it */
void xshm_reg_put_region(xshm_region_t *region);

/** A random number that is not zero, or zero if there is none */
uint64_t xshm_reg_random(void);

/** The random name of this process */
uint64_t xshm_process_name(void);

#endif
