/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_ALLOW_H_
#define XSHM_ALLOW_H_

#include <ucs/config/types.h>
#include <ucs/type/status.h>

#include <stdint.h>

/** Most domains that can be listed */
#define XSHM_ALLOW_MAX 64

/**
 * With which domains memory is shared. Peers in the same virtual machine are
 * not asked for: credentials decide on them.
 */
typedef struct xshm_allow {
    int      is_listed; /**< What the listed domains are: allowed, or not */
    unsigned count;
    uint16_t domains[XSHM_ALLOW_MAX];
} xshm_allow_t;


/** Read a setting.
 *  @return UCS_ERR_INVALID_PARAM, and a line in the log, for what is none. */
ucs_status_t
xshm_allow_init(xshm_allow_t *allow, const ucs_config_allow_list_t *config);

/**
 * The only domain that is allowed besides @a own, the one of this virtual
 * machine (XSHM_DOMAIN_SAME: not known). So one list can be the setting of all
 * machines.
 *
 * @return XSHM_DOMAIN_SAME if it is not one.
 */
int xshm_allow_only(const xshm_allow_t *allow, int own);

/** Is this domain (or XSHM_DOMAIN_SAME) allowed? */
int xshm_allow_has(const xshm_allow_t *allow, int domain);

#endif
