/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_TEST_RAW_H_
#define XSHM_TEST_RAW_H_

#include <uct/xshm/platform/local/local_wire.h>

/**
 * The protocol of the device "local", spoken by hand.
 */

#define XSHM_RAW_RING_SIZE XSHM_ABI_RING_MIN_SIZE
#define XSHM_RAW_DATA_SIZE (XSHM_ABI_RING_OFFSET + XSHM_RAW_RING_SIZE)

/** Memory to be offered */
typedef struct xshm_raw_mem {
    int data_fd;
    int return_fd;
} xshm_raw_mem_t;


/** Connect to a process of this user */
int xshm_raw_connect(uint64_t process);

/** Be a process of this name */
int xshm_raw_listen(uint64_t process);
int xshm_raw_accept(int listener);

/** Is there something to read, or somebody to be accepted? Does not wait. */
int xshm_raw_is_readable(int fd);

/** Send one packet, with descriptors */
void xshm_raw_send(int fd, const void *data, size_t length, const int *fds,
                   unsigned num_fds);

/** Wait for one message. Descriptors that come with it are closed. */
void xshm_raw_receive(int fd, xshm_local_msg_t *msg);

/** Wait until the other side has closed; what it sent before is dropped */
int xshm_raw_is_closed(int fd);

/** Fill a request for a channel that is as it must be */
void xshm_raw_request(xshm_local_msg_t *msg, const xshm_iface_addr_t *target);

/** The first page of such a channel */
void xshm_raw_header(xshm_abi_data_t *header);

/** Memory file with these seals; its first page is as it must be */
int xshm_raw_memfd(size_t size, int seals);

/** Memory of a channel, as it must be, or with another first page */
void xshm_raw_mem_alloc(xshm_raw_mem_t *mem);
void xshm_raw_mem_alloc_with(xshm_raw_mem_t        *mem,
                             const xshm_abi_data_t *header);

void xshm_raw_mem_free(xshm_raw_mem_t *mem);

#endif
