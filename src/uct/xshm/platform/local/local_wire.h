/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_LOCAL_WIRE_H_
#define XSHM_LOCAL_WIRE_H_

#include "../platform.h"

#include <sys/socket.h>
#include <sys/un.h>

/**
 * What two processes say to each other over their socket (SOCK_SEQPACKET: one
 * message, one packet). One socket serves all channels between them. Both ends
 * may open channels; a channel is named by the number that its sender gave it
 * and by which end that is.
 *
 *     sender -> receiver   REQUEST  with two descriptors: data and return
 *     receiver -> sender   ACCEPT   mapped; or REFUSE with the reason
 *     either               CLOSE    this end has done with the channel
 *     either               EVENT    look at my line of the channel; with one
 *                                   descriptor by which I can be woken, or
 *                                   without: not any more
 *
 * And about memory that can be mapped:
 *
 *     user  -> owner   MAP     give me the region of this registration
 *     owner -> user    REGION  with a descriptor; or NO_REGION
 *     owner -> user    FORGET  the region is freed
 */

/** First word of each message */
#define XSHM_LOCAL_MAGIC 0x78736c31u

/** Descriptors in a REQUEST */
#define XSHM_LOCAL_NUM_FDS 2

/** Format of the abstract socket's name: user and random process name. */
#define XSHM_LOCAL_NAME_FMT "xshm.%u.%016" PRIx64


typedef enum {
    XSHM_LOCAL_MSG_HELLO     = 1,
    XSHM_LOCAL_MSG_REQUEST   = 2,
    XSHM_LOCAL_MSG_ACCEPT    = 3,
    XSHM_LOCAL_MSG_REFUSE    = 4,
    XSHM_LOCAL_MSG_CLOSE     = 5,
    XSHM_LOCAL_MSG_EVENT     = 6,
    XSHM_LOCAL_MSG_MAP       = 7,
    XSHM_LOCAL_MSG_REGION    = 8,
    XSHM_LOCAL_MSG_NO_REGION = 9,
    XSHM_LOCAL_MSG_FORGET    = 10
} xshm_local_msg_type_t;


/**
 * A message. The first three fields are the same in all versions.
 */
typedef struct xshm_local_msg {
    uint32_t magic;     /**< XSHM_LOCAL_MAGIC */
    uint32_t version;   /**< XSHM_ABI_VERSION of who sent the message */
    uint32_t type;      /**< XSHM_LOCAL_MSG_xx */
    uint32_t reason;    /**< REFUSE: xshm_reason_t */
    uint32_t channel;   /**< Number of the channel, given by its sender */
    uint32_t by_sender; /**< Who sent the message is the channel's sender */
    uint64_t process;   /**< HELLO: who connects */
    uint32_t data_size; /**< REQUEST: length of the data pages, bytes */
    uint8_t  target[sizeof(xshm_iface_addr_t)]; /**< REQUEST: for whom */
    uint8_t  unused[3];
    uint32_t
            wake; /**< EVENT: number of the descriptor, given by who sends it */
    uint32_t slot;   /**< MAP, REGION, NO_REGION: the registration's place */
    uint32_t rights; /**< REGION: XSHM_RIGHT_xx */
    uint64_t id;     /**< The same: its random name */
    uint64_t region; /**< REGION, FORGET: name of the region */
    uint64_t base;   /**< REGION: its address in the owner's process */
    uint64_t length; /**< REGION: its length, bytes */
} xshm_local_msg_t;

XSHM_ABI_ASSERT(sizeof(xshm_local_msg_t) == 112);


/** Device address: two processes with the same one can share memory */
typedef struct xshm_local_dev_addr {
    uint64_t kernel;    /**< Derived from the boot id */
    uint64_t netns_dev; /**< Network namespace: the device ... */
    uint64_t netns_ino; /**< ... and inode of its file in /proc */
    uint32_t uid;       /**< User */
} __attribute__((packed)) xshm_local_dev_addr_t;

XSHM_ABI_ASSERT(sizeof(xshm_local_dev_addr_t) <= XSHM_DEV_ADDR_MAX);


/** Memory of a channel, with the descriptors while they are needed */
typedef struct xshm_local_mem {
    xshm_mem_t super;
    int        fds[XSHM_LOCAL_NUM_FDS]; /**< Data, return; or -1 */
} xshm_local_mem_t;


/** Describe this process. @return Zero if that is not possible. */
int xshm_local_dev_addr_get(xshm_local_dev_addr_t *addr);

/** Fill the name of a process' socket. @return Length of the address. */
socklen_t xshm_local_sockaddr(uint32_t uid, uint64_t process,
                              struct sockaddr_un *sockaddr);

/** See xshm_platform_ops_t::mem_alloc */
ucs_status_t xshm_local_mem_alloc(xshm_platform_t *platform,
                                  const void *dev_addr, size_t data_size,
                                  xshm_mem_t **mem_p);

/** See xshm_platform_ops_t::mem_free */
void xshm_local_mem_free(xshm_mem_t *mem);

/** Close the descriptors; the memory stays */
void xshm_local_mem_close_fds(xshm_local_mem_t *mem);

/**
 * Map memory that a peer offers, if it is as it must be: its size is fixed,
 * it is there, and the data pages can be written by nobody else.
 *
 * @param [in]  fds        Data and return descriptors; stay the caller's.
 * @param [in]  data_size  Length that the peer claims for the data pages.
 * @param [out] mem_p      Filled with the mapping.
 *
 * @return UCS_ERR_INVALID_PARAM if the memory is not as it must be.
 */
ucs_status_t
xshm_local_mem_map(const int *fds, size_t data_size, xshm_mem_t **mem_p);

/** Create a memory file with all its pages. @a advice is what to do if there
 *  is not enough memory. @return -1 on failure. */
int xshm_local_memfd(const char *name, size_t size, const char *advice);

/** Take away what can be done to the file, for ever */
ucs_status_t xshm_local_seal(int fd, int seals);

/** Is a file what its peer says, and can that not change any more? */
int xshm_local_memfd_check(int fd, size_t size, int seals);

/** Without these a peer could shrink the file below our feet (SIGBUS) */
#define XSHM_LOCAL_SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

#endif
