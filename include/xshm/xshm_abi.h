/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The layout of the memory that two peers share, version 2.
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
 *     return page (the receiver writes it; the sender, of one line only)
 *     +-------------------+---------------------------------------------+
 *     | counters, turn    | refused operations | reply room             |
 *     +-------------------+---------------------------------------------+
 *     0                   256                  512                   4096
 *
 * Each page has one writer, but for one line of the return page, which the two
 * sides write in turn (xshm_abi_turn_t). There are no pointers, and no atomic
 * read-modify-write operation is ever made on the other side's memory.
 *
 * Memory that is granted for direct access (Xen) is described by a table
 * (xshm_abi_table_t), and its mappers' page says who has it.
 */

#ifndef XSHM_ABI_H_
#define XSHM_ABI_H_

#include <stddef.h>
#include <stdint.h>


/** Version of this layout. Peers with different versions do not connect. */
#define XSHM_ABI_VERSION 2u

/** First word of the data pages: the letters "xshm" */
#define XSHM_ABI_MAGIC 0x6d687378u

/** Unit of the ring, and the alignment of everything that two sides touch:
 *  one cache line of the processors that are supported, in bytes */
#define XSHM_ABI_LINE_SIZE 64u

/** Short records share a line: each begins at a multiple of this, in bytes */
#define XSHM_ABI_UNIT_SIZE 16u

/** Longest payload of a record of one unit, and of two, in bytes. Longer ones
 *  take whole lines. */
#define XSHM_ABI_UNIT_PAYLOAD  8u
#define XSHM_ABI_UNITS_PAYLOAD 24u

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

/** First line where a WRAP may stand: every record fits in behind the start of
 *  the ring, and behind a SKIP there. So a WRAP and a SKIP do not lead to each
 *  other for ever. */
#define XSHM_ABI_FIRST_WRAP_LINE 2u

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
    XSHM_RECORD_AM     = 1, /**< Active message: id and payload */
    XSHM_RECORD_WRAP   = 2, /**< Go on at the start of the ring. Never stands
                                before line XSHM_ABI_FIRST_WRAP_LINE. */
    XSHM_RECORD_CLOSE  = 3, /**< The sender's last record */
    XSHM_RECORD_PUT    = 4, /**< xshm_abi_rma_t, and what is to be written */
    XSHM_RECORD_GET    = 5, /**< xshm_abi_rma_t: what is to be read */
    XSHM_RECORD_ATOMIC = 6, /**< xshm_abi_rma_t and xshm_abi_operands_t; the
                                header's id is XSHM_ATOMIC_xx */
    XSHM_RECORD_SKIP   = 7, /**< Go on at the next line. Stands only where a
                                page of the ring starts. */
    XSHM_RECORD_TURN   = 8  /**< The turn line is in use from here on. Payload:
                                the receiver's own name for its channel to the
                                sender (xshm_abi_data_t::pair). Once. */
};

/** Added to a record's type: the sender's last message by the turn line comes
 *  before this record */
#define XSHM_RECORD_AFTER_TURN 0x80u


/**
 * What an atomic record does. All but CSWAP have one operand.
 */
enum {
    XSHM_ATOMIC_ADD   = 0,
    XSHM_ATOMIC_AND   = 1,
    XSHM_ATOMIC_OR    = 2,
    XSHM_ATOMIC_XOR   = 3,
    XSHM_ATOMIC_SWAP  = 4,
    XSHM_ATOMIC_CSWAP = 5, /**< Store the operand if the value is compare */
    XSHM_ATOMIC_LAST  = 6
};


/** What a registration allows others to do */
enum {
    XSHM_RIGHT_PUT    = 1u << 0,
    XSHM_RIGHT_GET    = 1u << 1,
    XSHM_RIGHT_ATOMIC = 1u << 2,
    XSHM_RIGHT_ALL    = (1u << 3) - 1
};


/** The first lap around the ring, and the one before it comes round again:
 *  laps run 1, 2, ... XSHM_ABI_LAP_MAX, 1, ... A zeroed line is of no lap. */
#define XSHM_ABI_LAP_FIRST 1u
#define XSHM_ABI_LAP_MAX   0xffffu


/**
 * Header of a record. It is written with one 8-byte store, after the payload,
 * and read with one 8-byte load: a header of the present lap says that the
 * whole record is there. Anything else is no record yet, and the receiver looks
 * again at the same place. The sender sees to it that what it left there in an
 * earlier lap is not of the present one.
 *
 * The payload follows at once. A record is contiguous, and never crosses the
 * end of the ring. It begins with a line and fills whole lines, but for short
 * ones (XSHM_ABI_UNITS_PAYLOAD), which fill one or two units of a line. Behind
 * a short one in its line, the next one begins in the next unit, if it is short
 * and fits there, or else with the next line, as the sender likes: the receiver
 * looks at both places, and at the first one again when there is something at
 * the second. WRAP and SKIP fill whole lines, however short.
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
 * Head of the turn line. Written with one 8-byte store, after the payload.
 */
typedef union xshm_abi_turn_head {
    struct {
        uint32_t sequence; /**< Records of its ring and messages here that the
                                sender has sent before, modulo 2^32: this one
                                comes behind those */
        uint8_t  size;     /**< Length of the payload, in bytes */
        uint8_t  id;       /**< Active message id */
        uint16_t number;   /**< Of the message among all that went by this line
                                in either direction, from 1 on, modulo 2^16 */
    };
    uint64_t word; /**< All of it, for the single load or store */
} xshm_abi_turn_head_t;

/** Longest payload in the turn line, in bytes */
#define XSHM_ABI_TURN_PAYLOAD \
    (XSHM_ABI_LINE_SIZE - sizeof(xshm_abi_turn_head_t))

/**
 * The turn line: one active message, of either side. Whose turn it is may write
 * one, and then it is the other side's turn. The owner of the memory begins. So
 * a question and its answer travel in one line, which is half the way of a line
 * that one side writes and the other one reads (docs/performance.md, "The turn
 * line"). Who has written it waits for a head with the next number, and takes
 * no other one.
 */
typedef struct xshm_abi_turn {
    xshm_abi_turn_head_t head;
    uint8_t              payload[XSHM_ABI_TURN_PAYLOAD];
} xshm_abi_turn_t;


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
 * Head of a record that accesses memory of the receiver. The receiver looks the
 * registration up by slot and id, checks the range and what it allows, and
 * does it before it gives the record's lines back: so that the sender learns
 * by the count of consumed lines that it was done.
 */
typedef struct xshm_abi_rma {
    uint64_t id;      /**< Registration: its random name ... */
    uint64_t address; /**< In the receiver's address space */
    uint32_t slot;    /**< ... and its place in the table */
    uint32_t length;  /**< Bytes; of an atomic operation 4 or 8 */
    uint32_t reply;   /**< Where the reply goes in the reply room, in bytes, a
                           multiple of 8; or XSHM_ABI_NO_REPLY */
    uint32_t unused;  /**< Zero */
} xshm_abi_rma_t;

/** Nothing is to be returned */
#define XSHM_ABI_NO_REPLY 0xffffffffu

/** Follows in an atomic record */
typedef struct xshm_abi_operands {
    uint64_t value;
    uint64_t compare; /**< CSWAP, else zero */
} xshm_abi_operands_t;


/** First word of a packed key: the letters "xkey" */
#define XSHM_ABI_KEY_MAGIC 0x79656b78u

/** The owner would rather send a copy than have it accessed by message */
#define XSHM_KEY_COPY_INSTEAD 1u

/**
 * A packed key, by which others name a registration. Nothing in it is believed
 * by who has given it out; who uses it learns from it whom to ask and how.
 */
typedef struct xshm_abi_key {
    uint32_t magic;   /**< XSHM_ABI_KEY_MAGIC */
    uint8_t  version; /**< XSHM_ABI_VERSION */
    uint8_t  rights;  /**< XSHM_RIGHT_xx */
    uint16_t flags;   /**< XSHM_KEY_xx */
    uint64_t process; /**< Random name of the process */
    uint64_t id;      /**< Random name of the registration */
    uint64_t base;    /**< Its first byte, in the owner's address space */
    uint64_t length;  /**< Bytes */
    uint64_t region;  /**< Random name of the memory that can be mapped and
                           that it is in, or zero: by message only */
    uint32_t slot;    /**< Place in the owner's table */
    uint32_t gref;    /**< Grant reference of the memory's table (Xen) */
    uint16_t owner;   /**< Domain id of the owner's machine */
    uint16_t granted; /**< Domain id of the machine that can map the memory */
    uint32_t unused;  /**< Zero */
} xshm_abi_key_t;


/** No virtual machine: the owner does not know its own, or has granted its
 *  memory to none */
#define XSHM_ABI_NO_DOMAIN UINT16_MAX

/** First word of a table of granted memory: the letters "xreg" */
#define XSHM_ABI_TABLE_MAGIC 0x67657278u

/** Place of the references of data pages in a table, in bytes */
#define XSHM_ABI_TABLE_REFS_OFFSET 1024u

/** Most pages that a table can have besides its first */
#define XSHM_ABI_TABLE_MAX_MORE 224u

/**
 * Start of the table of memory that is granted to another virtual machine
 * (Xen). The table is as many whole pages as it needs, one behind the other,
 * granted read-only; the first page names the others. The references of the
 * data pages begin at XSHM_ABI_TABLE_REFS_OFFSET.
 */
typedef struct xshm_abi_table {
    /* Line 0: written before the name. When the memory is freed, the name
     * becomes zero. */
    uint32_t magic;       /**< XSHM_ABI_TABLE_MAGIC */
    uint32_t version;     /**< XSHM_ABI_VERSION */
    uint64_t region;      /**< Random name of the memory, or zero: none */
    uint64_t base;        /**< Where it is in the owner's address space */
    uint64_t length;      /**< Bytes, whole pages */
    uint32_t rights;      /**< XSHM_RIGHT_xx */
    uint32_t mappers_ref; /**< Reference of the mappers' page */
    uint8_t  unused0[24];

    /* Line 1: is cleared by the kernel when the owner dies */
    uint8_t live; /**< Not zero while the owner lives, and has the memory */
    uint8_t unused1[63];

    /* References of the table's other pages */
    uint32_t more_refs[XSHM_ABI_TABLE_MAX_MORE];
} xshm_abi_table_t;


/** Most data pages that a table can name */
#define XSHM_ABI_TABLE_MAX_PAGES \
    ((((1u + XSHM_ABI_TABLE_MAX_MORE) * XSHM_ABI_PAGE_SIZE) - \
      XSHM_ABI_TABLE_REFS_OFFSET) / \
     sizeof(uint32_t))

/**
 * The mappers' page, granted writable. Each process that has the memory mapped
 * has one byte that is not zero, which it took by a compare-and-swap when it
 * was zero, and which its kernel clears when the mapping ends. The owner only
 * reads them.
 */
#define XSHM_ABI_NUM_MAPPERS XSHM_ABI_PAGE_SIZE


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
    uint32_t first_line;  /**< Line of the ring at which the first record
                               stands */
    uint32_t iface;   /**< The sender's own address, to be believed by ... */
    uint64_t process; /**< ... nobody: a hint for the turn line */
    uint64_t pair;    /**< Random name of this channel, which only the two
                               sides know */
    uint8_t  unused0[16];

    /* Line 1 */
    xshm_abi_wake_t wake; /**< The sender sleeps until there is room */

    /* Line 2: is cleared by the kernel when the sender dies (Xen) */
    uint8_t live; /**< Not zero while the sender lives */
    uint8_t unused2[63];

    uint8_t unused3[64];
} xshm_abi_data_t;


/** Refused operations that the receiver names, before it names others in
 *  their places */
#define XSHM_ABI_NUM_REFUSED 64u

/** Place and length of the reply room in the return page, in bytes */
#define XSHM_ABI_REPLY_OFFSET 512u
#define XSHM_ABI_REPLY_SIZE   (XSHM_ABI_RETURN_SIZE - XSHM_ABI_REPLY_OFFSET)

/**
 * The return page, written by the receiver.
 */
typedef struct xshm_abi_return {
    /* Line 0: room given back */
    uint32_t consumed; /**< Lines consumed since the start, modulo 2^32 */
    uint32_t refused;  /**< Operations refused since the start, modulo 2^32.
                            Written before the count of lines. */
    uint8_t  unused0[56];

    /* Line 1 */
    xshm_abi_wake_t wake; /**< The receiver sleeps until there is a message */

    /* Line 2: is cleared by the kernel when the receiver dies (Xen) */
    uint8_t live;     /**< Not zero while the receiver has mapped the channel */
    uint8_t was_live; /**< Not zero since it first had */
    uint8_t unused2[62];

    /* Line 3: both sides write it */
    xshm_abi_turn_t turn;

    /* The last refused operations: number n (of those refused) is in entry
     * n modulo XSHM_ABI_NUM_REFUSED. Operations (PUT, GET and ATOMIC records)
     * are counted from zero since the start, modulo 2^32. */
    uint32_t refused_op[XSHM_ABI_NUM_REFUSED];

    /* What was read for the sender, where its records said */
    uint8_t reply[XSHM_ABI_REPLY_SIZE];
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

XSHM_ABI_ASSERT(sizeof(xshm_abi_turn_head_t) == 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_turn_head_t, sequence, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_turn_head_t, size, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_turn_head_t, id, 5);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_turn_head_t, number, 6);

XSHM_ABI_ASSERT(sizeof(xshm_abi_turn_t) == XSHM_ABI_LINE_SIZE);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_turn_t, payload, 8);

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
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, first_line, 24);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, iface, 28);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, process, 32);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, pair, 40);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, wake, 64);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_data_t, live, 128);

XSHM_ABI_ASSERT(sizeof(xshm_abi_rma_t) == 32);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_rma_t, id, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_rma_t, address, 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_rma_t, slot, 16);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_rma_t, length, 20);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_rma_t, reply, 24);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_rma_t, unused, 28);

XSHM_ABI_ASSERT(sizeof(xshm_abi_operands_t) == 16);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_operands_t, value, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_operands_t, compare, 8);

XSHM_ABI_ASSERT(sizeof(xshm_abi_key_t) == 64);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, magic, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, version, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, rights, 5);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, flags, 6);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, process, 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, id, 16);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, base, 24);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, length, 32);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, region, 40);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, slot, 48);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, gref, 52);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, owner, 56);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, granted, 58);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_key_t, unused, 60);

XSHM_ABI_ASSERT(sizeof(xshm_abi_table_t) == XSHM_ABI_TABLE_REFS_OFFSET);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, magic, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, version, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, region, 8);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, base, 16);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, length, 24);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, rights, 32);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, mappers_ref, 36);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, live, 64);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_table_t, more_refs, 128);

XSHM_ABI_ASSERT(sizeof(xshm_abi_return_t) == XSHM_ABI_RETURN_SIZE);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, consumed, 0);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, wake, 64);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, refused, 4);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, refused_op, 256);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, reply, XSHM_ABI_REPLY_OFFSET);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, live, 128);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, was_live, 129);
XSHM_ABI_ASSERT_OFFSET(xshm_abi_return_t, turn, 192);

#endif
