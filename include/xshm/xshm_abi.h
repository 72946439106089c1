/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The layout of the memory that two peers share, version 1.
 *
 * This header is the contract between two processes that need not be built
 * from the same source, nor trust each other. It includes nothing but the C
 * library's fixed-width types, so that another implementation (or a test that
 * plays a hostile peer) can be written against it. All integers are in the
 * byte order of the machine: both peers are on one host. docs/abi.md explains
 * it in words.
 *
 * A channel carries messages in one direction, from its sender to its
 * receiver. The sender owns all memory of it:
 *
 *     data pages (the receiver has them read-only)
 *     +-----------------+-----------------+--------------------------------+
 *     | xshm_abi_data_t | page references | ring: records in 64-byte lines |
 *     +-----------------+-----------------+--------------------------------+
 *     0                 256               4096                  4096 + size
 *
 *     return page (the receiver writes it, the sender only reads it)
 *     +-------------------+---------------------------------------------+
 *     | xshm_abi_return_t | unused, zero                                |
 *     +-------------------+---------------------------------------------+
 *     0                   192                                        4096
 *
 * Each page has one writer. There are no pointers, and no atomic
 * read-modify-write operation is ever made on the other side's memory.
 */

#ifndef XSHM_ABI_H_
#define XSHM_ABI_H_

#include <stddef.h>
#include <stdint.h>


/** Version of this layout. Peers with different versions do not connect. */
#define XSHM_ABI_VERSION 1u

/** First word of the data pages: the letters "xshm" */
#define XSHM_ABI_MAGIC 0x6d687378u

/** Unit of the ring, and the alignment of everything that two sides touch:
 *  one cache line of the processors that are supported, in bytes */
#define XSHM_ABI_LINE_SIZE 64u

/** Unit of sharing: one page of Xen's grant table, in bytes */
#define XSHM_ABI_PAGE_SIZE 4096u

/** Where the ring starts in the data pages, in bytes */
#define XSHM_ABI_RING_OFFSET XSHM_ABI_PAGE_SIZE

/** Size of the return area, in bytes */
#define XSHM_ABI_RETURN_SIZE XSHM_ABI_PAGE_SIZE

/** Smallest and largest size of a ring, in bytes. The largest is what the
 *  page references in the first data page can name. */
#define XSHM_ABI_RING_MIN_SIZE XSHM_ABI_PAGE_SIZE
#define XSHM_ABI_RING_MAX_SIZE (XSHM_ABI_MAX_PAGE_REFS * XSHM_ABI_PAGE_SIZE)

/** Length of the random token by which a receiver is addressed, in bytes */
#define XSHM_ABI_TOKEN_SIZE 16u

/** Place of the page references in the first data page, and their number */
#define XSHM_ABI_PAGE_REF_OFFSET 256u
#define XSHM_ABI_MAX_PAGE_REFS \
    ((XSHM_ABI_PAGE_SIZE - XSHM_ABI_PAGE_REF_OFFSET) / 4u)


/**
 * What a record in the ring is.
 */
enum {
    XSHM_RECORD_AM    = 1, /**< Active message: id and payload */
    XSHM_RECORD_WRAP  = 2, /**< Go on at the start of the ring. Never stands
                                at the start itself. */
    XSHM_RECORD_CLOSE = 3  /**< The sender's last record */
};


/** The first lap around the ring, and the one before it comes round again:
 *  laps run 1, 2, ... XSHM_ABI_LAP_MAX, 1, ... A zeroed line is of no lap. */
#define XSHM_ABI_LAP_FIRST 1u
#define XSHM_ABI_LAP_MAX   0xffffu


/**
 * Header of a record, at the start of a line. It is written with one 8-byte
 * store, after the payload, and read with one 8-byte load: a header of the
 * present lap says that the whole record is there. Anything else is no record
 * yet, and the receiver looks again at the same place. The sender sees to it
 * that what it left in a line in an earlier lap is not of the present one.
 *
 * The payload follows at once. A record is contiguous, fills whole lines, and
 * never crosses the end of the ring.
 */
typedef union xshm_abi_record {
    struct {
        uint32_t size; /**< Length of the payload, in bytes */
        uint8_t  type; /**< XSHM_RECORD_xx */
        uint8_t  id;   /**< Active message id, else zero */
        uint16_t lap;  /**< Of the sender, around the ring */
    };
    uint64_t word; /**< All of it, for the single load or store */
} xshm_abi_record_t;


/**
 * One side's state for sleeping and waking up, in a line of its own, which that
 * side alone writes. A receiver sleeps until there is a message, a sender until
 * there is room.
 */
typedef struct xshm_abi_wake {
    uint32_t sleeps;   /**< Grows at each change; odd: this side sleeps */
    uint32_t port;     /**< Event port, zero: none yet (Xen) */
    uint32_t wants;    /**< Not zero: wants to be woken from now on. Another
                            number each time that it begins to. */
    uint32_t notifies; /**< The other side's `wants` that this side has taken
                            note of: since then it looks at `sleeps` after all
                            that it publishes */
    uint8_t  unused[48];
} xshm_abi_wake_t;


/**
 * Start of the data pages, written by the sender.
 */
typedef struct xshm_abi_data {
    /* Line 0: written once, before the request for the channel is sent */
    uint32_t magic;       /**< XSHM_ABI_MAGIC */
    uint32_t version;     /**< XSHM_ABI_VERSION */
    uint32_t ring_size;   /**< Size of the ring, in bytes: whole lines */
    uint32_t max_payload; /**< Longest payload of a record, in bytes */
    uint32_t num_pages;   /**< Data pages, the first included */
    uint32_t return_ref;  /**< Reference of the return page (Xen) */
    uint8_t  unused0[40];

    /* Line 1 */
    xshm_abi_wake_t wake; /**< The sender sleeps until there is room */

    /* Line 2: is cleared by the kernel when the sender dies (Xen) */
    uint8_t live; /**< Not zero while the sender lives */
    uint8_t unused2[63];

    uint8_t unused3[64];
} xshm_abi_data_t;


/**
 * The return page, written by the receiver.
 */
typedef struct xshm_abi_return {
    /* Line 0: room given back */
    uint32_t consumed; /**< Lines consumed since the start, modulo 2^32 */
    uint8_t  unused0[60];

    /* Line 1 */
    xshm_abi_wake_t wake; /**< The receiver sleeps until there is a message */

    /* Line 2: is cleared by the kernel when the receiver dies (Xen) */
    uint8_t live;     /**< Not zero while the receiver has mapped the channel */
    uint8_t was_live; /**< Not zero since it first had */
    uint8_t unused2[62];
} xshm_abi_return_t;


#ifdef __cplusplus
#define XSHM_ABI_ASSERT(_cond) static_assert(_cond, #_cond)
#else
#define XSHM_ABI_ASSERT(_cond) _Static_assert(_cond, #_cond)
#endif

#define XSHM_ABI_ASSERT_OFFSET(_type, _field, _offset) \
    XSHM_ABI_ASSERT(offsetof(_type, _field) == (_offset))

XSHM_ABI_ASSERT(sizeof(xshm_abi_record_t) == 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_record_t, size, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_record_t, type, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_record_t, id, 5);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_record_t, lap, 6);

XSHM_ABI_ASSERT(sizeof(xshm_abi_wake_t) == XSHM_ABI_LINE_SIZE);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_wake_t, sleeps, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_wake_t, port, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_wake_t, wants, 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_wake_t, notifies, 12);

XSHM_ABI_ASSERT(sizeof(xshm_abi_data_t) == XSHM_ABI_PAGE_REF_OFFSET);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, magic, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, version, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, ring_size, 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, max_payload, 12);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, num_pages, 16);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, return_ref, 20);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, wake, 64);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, live, 128);

XSHM_ABI_ASSERT(sizeof(xshm_abi_return_t) == 3 * XSHM_ABI_LINE_SIZE);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, consumed, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, wake, 64);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, live, 128);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, was_live, 129);

#endif
