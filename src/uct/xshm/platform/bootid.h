/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_BOOTID_H_
#define XSHM_BOOTID_H_

#include <stdint.h>

/**
 * Derive a number from the kernel's boot id, which is random and new at each
 * start of a kernel: two kernels do not have the same.
 *
 * @param [in]  salt    Numbers with different salts are independent.
 * @param [out] hash_p  Filled with the number.
 *
 * @return Zero if the boot id cannot be read; errno says why.
 */
int xshm_boot_id_hash(uint64_t salt, uint64_t *hash_p);

#endif
