/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_RING_H_
#define XSHM_RING_H_

#include "nt_copy.h"

#include <xshm/xshm_abi.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * The ring: one producer, one consumer, memory in, messages out.
 *
 * It knows nothing of UCX, of Xen or of the operating system. Both sides keep
 * all that they decide by in private memory; of what the other side writes,
 * each word is read once and checked before it is used.
 *
 * A record is there when the header at the consumer's place is of the present
 * lap. So a line that held a header before need not be cleared to be reused;
 * one that held payload, which may look like anything, is: the producer keeps
 * a private bitmap of those ("dirty") lines, and clears the next header before
 * it publishes the present one. docs/performance.md has the figures of other
 * layouts.
 *
 * Short records share a line, since what a message costs is the travel of its
 * line: they take one or two units of it. Behind one, the consumer looks for
 * the next one in the next unit, which the producer has cleared before, and at
 * the start of the next line.
 *
 * Ordering. Each ordered access has a label and names its partner:
 *
 *   PUBLISH   (producer) store-release of a record's header, after its payload
 *             and after the next header was cleared, that in the same line
 *             and that at the start of the next one.
 *   NT_DRAIN  (producer) store fence between a payload that was written past the
 *             caches and PUBLISH, which does not order such stores by itself.
 *   SEE       (consumer) load-acquire of a record's header; pairs with PUBLISH,
 *             and with NT_DRAIN before it: the payload and the next header are
 *             read as they were published.
 *   GIVE_BACK (consumer) store-release of the count of consumed lines, after
 *             the last read of those lines.
 *   TAKE_BACK (producer) load-acquire of that count; pairs with GIVE_BACK: the
 *             lines are written again only after the consumer has read them.
 *   PASS      (producer) store-release of the turn line's head, after its
 *             payload and after all records that come before it.
 *   GET       (consumer) load-acquire of that head; pairs with PASS. That the
 *             consumer reads the payload before it writes there itself needs no
 *             order: it is the same place.
 *
 * The turn line (xshm_abi_turn_t) is a place for one message besides the ring,
 * which both directions of a pair share. A message there says how many messages
 * come before it, and the next record of that ring says that one comes before
 * it. So the consumer looks there only where its ring is empty, or says so.
 *
 * Counters of lines run modulo 2^32, and only differences of them are used.
 *
 * Threads: each side belongs to one thread at a time.
 */

#define xshm_ring_likely(_x)   __builtin_expect(!!(_x), 1)
#define xshm_ring_unlikely(_x) __builtin_expect(!!(_x), 0)

/** Length of a record's header, in bytes */
#define XSHM_RING_HEADER_SIZE sizeof(xshm_abi_record_t)

/** Longest payload of a record of one line, in bytes */
#define XSHM_RING_LINE_PAYLOAD (XSHM_ABI_LINE_SIZE - XSHM_RING_HEADER_SIZE)

/** Lines that a message never takes: the next record's header, which stays
 *  cleared, and a line each for the TURN and the CLOSE record, so that they
 *  never wait */
#define XSHM_RING_KEEP_LINES 3u

/**
 * A record of so many lines does not begin where a page does: a SKIP stands
 * there. Copies of 2 KiB and more, whose destination lies 1 to 15 bytes behind
 * the source's place in its page, take up to 28 times as long on some
 * processors. Buffers of programs often begin with a page, and a payload 8
 * bytes behind its record. docs/performance.md has the figures.
 */
#define XSHM_RING_LONG_LINES 32u


/** What the consumer found */
typedef enum {
    XSHM_RING_EMPTY,    /**< No record yet */
    XSHM_RING_RECORD,   /**< A record that passed all checks */
    XSHM_RING_TURN,     /**< A message in the turn line comes first */
    XSHM_RING_VIOLATION /**< The producer broke the rules: do not read on */
} xshm_ring_peek_t;


/**
 * Called after each PUBLISH, PASS or GIVE_BACK, while the other side wants to
 * be woken (sleep.h). There is none as long as nobody asked for it: then all
 * that it costs is one test of a private word.
 */
typedef void (*xshm_ring_hook_t)(void *ring);

typedef struct xshm_turn xshm_turn_t;


/** What keeps a record of one line from the fast path (xshm_ring_tx_t::gate):
 *  it is our turn, so that a message may be written in the turn line */
#define XSHM_RING_TURN_IS_OURS (1ull << 32)

/** One was written there, and the next record has to say so */
#define XSHM_RING_TURN_PRECEDES (1ull << 33)

/** Lines that are marked in the bitmap "dirty", as a number */
#define XSHM_RING_NUM_DIRTY ((1ull << 32) - 1)


/** Producer's side, in private memory */
typedef struct xshm_ring_tx {
    uint8_t *pos;      /**< Next record's place */
    uint8_t *end;      /**< End of the ring */
    uint32_t room;     /**< Lines that can be taken without
                                            asking anybody */
    uint32_t produced; /**< Lines begun since the start */
    uint64_t gate; /**< Zero: a record of one line needs nothing else. Read and
                        written as a whole: a load that covers more than the
                        last store to it would wait for all stores before it. */
    uint16_t lap;  /**< Present lap */
    xshm_ring_hook_t hook; /**< After PUBLISH and PASS; any thread sets it */
    /* These two are side by side for the compiler to write both at once */
    uint64_t                 num_records; /**< Published, with fillers and what
                                               went by the turn line */
    uint64_t                 num_bytes;   /**< Of their payload */
    uint8_t                 *base;        /**< Start of the ring */
    uint64_t                *dirty;     /**< Bit for each line: it holds payload
                                            where a header may be */
    const xshm_abi_return_t *ret;       /**< The consumer writes here */
    uint32_t                 consumed;  /**< Last checked value of theirs */
    uint32_t                 num_lines; /**< Lines of the ring */
    uint64_t                 num_fillers; /**< Of them no messages: WRAP, SKIP
                                               and TURN */
    xshm_turn_t             *turn_line;   /**< Of the pair, if any */
    int                      violation;   /**< Consumer's count was wrong */
} xshm_ring_tx_t;


/** Consumer's side, in private memory */
typedef struct xshm_ring_rx {
    const uint8_t *pos;      /**< Record to look at next */
    const uint8_t *end;      /**< End of the ring */
    uint32_t       consumed; /**< Lines consumed since the start */
    uint32_t num_records;    /**< The same of records, and of what came by the
 turn line, modulo 2^32 */
    uint32_t given_back;     /**< What the producer was told */
    uint32_t batch;          /**< Lines to give back at once */
    uint16_t lap;            /**< Lap of the record to look at */
    uint16_t turn_number;    /**< Of the message to look for there */
    const xshm_abi_turn_t *turn;      /**< Where to look besides the ring */
    xshm_turn_t           *turn_line; /**< Of the pair, if any */
    const uint8_t         *base;      /**< Start of the ring */
    xshm_abi_return_t     *ret;       /**< The producer reads here */
    xshm_ring_hook_t       hook; /**< After GIVE_BACK; any thread sets it */
} xshm_ring_rx_t;


/** Lines that so many bytes take */
static inline uint32_t xshm_ring_length_lines(size_t length)
{
    return (uint32_t)((length + XSHM_ABI_LINE_SIZE - 1) / XSHM_ABI_LINE_SIZE);
}

/** Lines that a record with @a size bytes of payload takes, or begins */
static inline uint32_t xshm_ring_lines(size_t size)
{
    return xshm_ring_length_lines(size + XSHM_RING_HEADER_SIZE);
}

/**
 * Longest payload that a ring of @a ring_size bytes can carry: the longest
 * record, the waste in front of it at the end of the ring and the lines that
 * are kept have to fit while the consumer still holds back a batch.
 */
size_t xshm_ring_max_payload(size_t ring_size);

/** Lines that a consumer gives back at once, for a ring of this size */
uint32_t xshm_ring_batch(size_t ring_size);

/** Length in bytes of the bitmap that the producer of such a ring needs */
size_t xshm_ring_dirty_size(size_t ring_size);

/**
 * Start to produce into a ring.
 *
 * @param [out] tx     Filled; owned by the caller.
 * @param [in]  ring   Memory of the ring, zeroed, aligned to a line.
 * @param [in]  size   Its length in bytes, whole lines.
 * @param [in]  dirty  Private memory, zeroed, xshm_ring_dirty_size(size) bytes.
 * @param [in]  ret    Where the consumer gives back lines; zeroed.
 */
void xshm_ring_tx_init(xshm_ring_tx_t *tx, void *ring, size_t size,
                       uint64_t *dirty, const xshm_abi_return_t *ret);

/** Begin at another line than the first, before anything is produced */
void xshm_ring_tx_begin_at(xshm_ring_tx_t *tx, uint32_t line);

/**
 * A producer that never has room: what an endpoint points to while it may not
 * send by the fast path.
 */
extern xshm_ring_tx_t xshm_ring_tx_none;

/**
 * Find room for a record the slow way: read what the consumer gave back, go on
 * at the start of the ring if the end is too near, and do not begin a long
 * record where a page begins.
 *
 * @param [in] lines  Length of the record, in lines.
 *
 * @return Place of the payload, or NULL: no room now, or, if tx->violation is
 *         set, never again.
 */
void *xshm_ring_tx_reserve_slow(xshm_ring_tx_t *tx, uint32_t lines);

/** Is there room for a record of @a lines lines now? Takes nothing. */
int xshm_ring_tx_can_reserve(xshm_ring_tx_t *tx, uint32_t lines);

/** Read what the consumer gave back: tx->consumed, or tx->violation */
void xshm_ring_tx_take_back(xshm_ring_tx_t *tx);

/** Write the producer's last record. There is always room for it, once. */
void xshm_ring_tx_close(xshm_ring_tx_t *tx);

/** Write the record that says that the turn line is in use, and name the
 *  receiver's channel. There is always room for it, once. */
void xshm_ring_tx_announce_turn(xshm_ring_tx_t *tx, uint64_t pair);

/** Note that lines hold payload. Slow part of @ref xshm_ring_tx_commit. */
void xshm_ring_tx_mark_dirty(xshm_ring_tx_t *tx, uint32_t first,
                             uint32_t count);

/** Make the line behind the next @a lines lines fit for a header, and let the
 *  record say what precedes it. Slow part of @ref xshm_ring_tx_publish. */
xshm_abi_record_t xshm_ring_tx_prepare(xshm_ring_tx_t *tx, uint32_t lines,
                                       xshm_abi_record_t record);

/**
 * Start to consume a ring.
 *
 * @param [out] rx    Filled; owned by the caller.
 * @param [in]  ring  Memory of the ring, at most readable.
 * @param [in]  size  Its length in bytes, whole lines, checked by the caller.
 * @param [in]  ret   Where lines are given back.
 */
void xshm_ring_rx_init(xshm_ring_rx_t *rx, const void *ring, size_t size,
                       xshm_abi_return_t *ret);

/** Begin at another line than the first, before anything is consumed
 *
 * @param [in] line  Checked by the caller: a line of the ring.
 */
void xshm_ring_rx_begin_at(xshm_ring_rx_t *rx, uint32_t line);

/** Read no more: from now on the ring is empty */
void xshm_ring_rx_stop(xshm_ring_rx_t *rx);

/** Slow part of @ref xshm_ring_rx_peek: anything but a message of one line */
xshm_ring_peek_t
xshm_ring_rx_peek_slow(xshm_ring_rx_t *rx, xshm_abi_record_t *record);


/** The lap after this one */
static inline uint16_t xshm_ring_next_lap(uint16_t lap)
{
    return (lap == XSHM_ABI_LAP_MAX) ? XSHM_ABI_LAP_FIRST : (uint16_t)(lap + 1);
}

/** Number of the line at @a pos */
static inline uint32_t
xshm_ring_line_index(const uint8_t *base, const uint8_t *pos)
{
    return (uint32_t)(pos - base) / XSHM_ABI_LINE_SIZE;
}

/** Does a page of the ring start at @a pos? */
static inline int
xshm_ring_is_page_start(const uint8_t *base, const uint8_t *pos)
{
    return ((size_t)(pos - base) % XSHM_ABI_PAGE_SIZE) == 0;
}

/** Place in its line, bytes. Rings are aligned to lines. */
static inline size_t xshm_ring_line_offset(const uint8_t *pos)
{
    return (uintptr_t)pos % XSHM_ABI_LINE_SIZE;
}

/** Distance to the start of the next line, bytes */
static inline size_t xshm_ring_line_rest(const uint8_t *pos)
{
    return XSHM_ABI_LINE_SIZE - xshm_ring_line_offset(pos);
}

/** Does a record with so many bytes of payload share its line? */
static inline int xshm_ring_is_short(size_t size)
{
    return size <= XSHM_ABI_UNITS_PAYLOAD;
}

/** Length of a short record, bytes */
static inline size_t xshm_ring_short_length(size_t size)
{
    return (size <= XSHM_ABI_UNIT_PAYLOAD) ? XSHM_ABI_UNIT_SIZE :
                                             (2 * XSHM_ABI_UNIT_SIZE);
}

/** May a record of @a lines lines not begin at @a pos? */
static inline int
xshm_ring_is_bad_start(const uint8_t *base, const uint8_t *pos, uint32_t lines)
{
    return (lines >= XSHM_RING_LONG_LINES) &&
           xshm_ring_is_page_start(base, pos);
}

/** Let the producer go on at @a pos, which may be the end of the ring */
static inline void xshm_ring_tx_move(xshm_ring_tx_t *tx, uint8_t *pos)
{
    if (xshm_ring_unlikely(pos == tx->end)) {
        pos     = tx->base;
        tx->lap = xshm_ring_next_lap(tx->lap);
    }

    tx->pos = pos;
}

/** Begin a line, if short records have left one that is not full */
static inline void xshm_ring_tx_begin_line(xshm_ring_tx_t *tx)
{
    if (xshm_ring_line_offset(tx->pos) != 0) {
        xshm_ring_tx_move(tx, tx->pos + xshm_ring_line_rest(tx->pos));
    }
}

/**
 * Find room for a record.
 *
 * @param [in] lines  Length of the record, in lines.
 *
 * @return Place of the payload, to be filled before @ref xshm_ring_tx_commit,
 *         or NULL: ask @ref xshm_ring_tx_reserve_slow.
 */
static inline void *xshm_ring_tx_reserve(xshm_ring_tx_t *tx, uint32_t lines)
{
    xshm_ring_tx_begin_line(tx);
    if (xshm_ring_unlikely((lines > tx->room) ||
                           (lines > xshm_ring_line_index(tx->pos, tx->end)) ||
                           xshm_ring_is_bad_start(tx->base, tx->pos, lines))) {
        return NULL;
    }

    return tx->pos + XSHM_RING_HEADER_SIZE;
}

/**
 * As @ref xshm_ring_tx_reserve for a record of at most one line, if it can be
 * published by @ref xshm_ring_tx_advance.
 *
 * @param [in] length  Of the record, with its header, bytes: of a short one, or
 *                     a line.
 */
static inline void *xshm_ring_tx_reserve_line(xshm_ring_tx_t *tx, size_t length)
{
    if (xshm_ring_unlikely((tx->room == 0) || (tx->gate != 0))) {
        return NULL;
    }

    /* One unit always fits */
    if ((length > XSHM_ABI_UNIT_SIZE) &&
        (length > xshm_ring_line_rest(tx->pos))) {
        xshm_ring_tx_begin_line(tx);
    }

    return tx->pos + XSHM_RING_HEADER_SIZE;
}

/** Let a line come here, to be written: the consumer, who has read it, has a
 *  copy that must go away first */
static inline void xshm_ring_tx_prefetch(const uint8_t *line)
{
#ifdef __x86_64__
    /* The compiler takes the instruction for reading, unless it is told of a
     * processor that has the other one. All of these have it, or ignore it. */
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/** Let the lines of the next record come, if it is as long as the last one.
 *  Slow part of @ref xshm_ring_tx_commit. */
void xshm_ring_tx_prefetch_record(const xshm_ring_tx_t *tx, uint32_t lines);

/**
 * Publish a record, and do nothing else: the next line needs no cleaning, and
 * the caller calls the hook.
 *
 * Few stores, since on some processors only as many of them can be under way as
 * the store buffer holds, and the first one to each line waits for it to come
 * from the consumer's processor (docs/performance.md, "Stores of a message").
 *
 * @param [in] length  Of the record, with its header, bytes: of a short one, or
 *                     whole lines.
 *
 * @return The hook to be called now, or NULL.
 */
static inline xshm_ring_hook_t xshm_ring_tx_advance(xshm_ring_tx_t   *tx,
                                                    size_t            length,
                                                    xshm_abi_record_t record)
{
    uint8_t *pos   = tx->pos;
    uint8_t *next  = pos + length;
    uint32_t lines = xshm_ring_length_lines(length);

    tx->num_bytes += record.size;
    tx->num_records += 1;
    record.lap = tx->lap;
    if (xshm_ring_line_offset(next) != 0) {
        /* No record yet. Ordered by PUBLISH, which follows. */
        __atomic_store_n((uint64_t *)next, 0, __ATOMIC_RELAXED);
    }

    /* PUBLISH: pairs with SEE */
    __atomic_store_n((uint64_t *)pos, record.word, __ATOMIC_RELEASE);

    xshm_ring_tx_move(tx, next);
    if (xshm_ring_line_offset(pos) == 0) {
        tx->produced += lines;
        tx->room -= lines;
        xshm_ring_tx_prefetch(pos + ((size_t)lines * XSHM_ABI_LINE_SIZE));
    }

    /* IS_HOOKED: after PUBLISH in the program's order, for ALL_THREADS */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&tx->hook, __ATOMIC_RELAXED);
}

/** Publish a record whose lines but the first are marked dirty */
static inline void xshm_ring_tx_publish(xshm_ring_tx_t *tx, size_t length,
                                        xshm_abi_record_t record)
{
    uint32_t         lines = xshm_ring_length_lines(length);
    xshm_ring_hook_t hook;

    if (xshm_ring_unlikely(tx->gate != 0)) {
        record = xshm_ring_tx_prepare(tx, lines, record);
    }

    hook = xshm_ring_tx_advance(tx, length, record);
    if (xshm_ring_unlikely(hook != NULL)) {
        hook(tx);
    }
}

/** Publish the record of one line whose room was reserved. A short one leaves
 *  the rest of its line to others. */
static inline void
xshm_ring_tx_commit_line(xshm_ring_tx_t *tx, xshm_abi_record_t record)
{
    xshm_ring_tx_publish(tx,
                         xshm_ring_is_short(record.size) ?
                                 xshm_ring_short_length(record.size) :
                                 XSHM_ABI_LINE_SIZE,
                         record);
}

/** Publish a record of two or more lines */
static inline void xshm_ring_tx_commit_lines(xshm_ring_tx_t *tx, uint32_t lines,
                                             xshm_abi_record_t record)
{
    xshm_ring_tx_mark_dirty(tx, xshm_ring_line_index(tx->base, tx->pos) + 1,
                            lines - 1);
    xshm_ring_tx_publish(tx, (size_t)lines * XSHM_ABI_LINE_SIZE, record);
}

/** As @ref xshm_ring_tx_commit for a record of two or more lines that was
 *  written past the caches, as the next one will be: its lines are not
 *  fetched */
static inline void xshm_ring_tx_commit_nt(xshm_ring_tx_t *tx, uint32_t lines,
                                          xshm_abi_record_t record)
{
    /* NT_DRAIN: before PUBLISH; pairs with SEE */
    xshm_nt_drain();
    xshm_ring_tx_commit_lines(tx, lines, record);
}

/**
 * Publish the record whose room was reserved, at most as long as was reserved.
 *
 * @param [in] lines   Its length in lines: xshm_ring_lines(record.size).
 * @param [in] record  Its header, but for the lap.
 */
static inline void xshm_ring_tx_commit(xshm_ring_tx_t *tx, uint32_t lines,
                                       xshm_abi_record_t record)
{
    if (lines == 1) {
        xshm_ring_tx_commit_line(tx, record);
        return;
    }

    xshm_ring_tx_commit_lines(tx, lines, record);
    xshm_ring_tx_prefetch_record(tx, lines);
}

/** Tell the producer of all lines that were consumed */
static inline void xshm_ring_rx_give_back(xshm_ring_rx_t *rx)
{
    xshm_ring_hook_t hook;

    rx->given_back = rx->consumed;
    /* GIVE_BACK: pairs with TAKE_BACK */
    __atomic_store_n(&rx->ret->consumed, rx->consumed, __ATOMIC_RELEASE);

    /* IS_HOOKED: after GIVE_BACK in the program's order, for ALL_THREADS */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    hook = __atomic_load_n(&rx->hook, __ATOMIC_RELAXED);
    if (xshm_ring_unlikely(hook != NULL)) {
        hook(rx);
    }
}

/**
 * Is there a message in the turn line that comes next?
 *
 * @param [out] head  If so: the private copy of its head, with a size that is
 *                    not checked.
 */
static inline int
xshm_ring_rx_has_turn(const xshm_ring_rx_t *rx, xshm_abi_turn_head_t *head)
{
    /* GET: pairs with PASS */
    head->word = __atomic_load_n(&rx->turn->head.word, __ATOMIC_ACQUIRE);
    return (head->number == rx->turn_number) &&
           (head->sequence == rx->num_records);
}

/** The same, as a result of @ref xshm_ring_rx_peek */
static inline xshm_ring_peek_t
xshm_ring_rx_peek_turn(const xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    xshm_abi_turn_head_t head;

    if (xshm_ring_likely(!xshm_ring_rx_has_turn(rx, &head))) {
        return XSHM_RING_EMPTY;
    }

    record->size = head.size;
    record->type = XSHM_RECORD_AM;
    record->id   = head.id;
    return (head.size <= XSHM_ABI_TURN_PAYLOAD) ? XSHM_RING_TURN :
                                                  XSHM_RING_VIOLATION;
}

/** Let the consumer go on at @a pos, which may be the end of the ring, behind
 *  @a lines lines more */
static inline void
xshm_ring_rx_move(xshm_ring_rx_t *rx, const uint8_t *pos, uint32_t lines)
{
    if (xshm_ring_unlikely(pos == rx->end)) {
        pos     = rx->base;
        rx->lap = xshm_ring_next_lap(rx->lap);
    }

    rx->pos = pos;
    rx->consumed += lines;
    if (xshm_ring_unlikely((rx->consumed - rx->given_back) >= rx->batch)) {
        xshm_ring_rx_give_back(rx);
    }
}

/**
 * The other place where the next record may begin, behind a short one.
 *
 * @param [out] lap_p  The lap that it is of there.
 *
 * @return The start of the next line. At the start of a line: that place.
 */
static inline const uint8_t *
xshm_ring_rx_other_place(const xshm_ring_rx_t *rx, uint16_t *lap_p)
{
    const uint8_t *pos = rx->pos;

    *lap_p = rx->lap;
    if (xshm_ring_line_offset(pos) != 0) {
        pos += xshm_ring_line_rest(pos);
        if (pos == rx->end) {
            *lap_p = xshm_ring_next_lap(rx->lap);
            pos    = rx->base;
        }
    }

    return pos;
}

/**
 * There was no record at its place: is there one at the other place?
 *
 * @param [out] record  If so: its header, unchecked.
 */
static inline int
xshm_ring_rx_find_other(xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    const uint8_t    *pos;
    xshm_abi_record_t other;
    uint16_t          lap;

    pos = xshm_ring_rx_other_place(rx, &lap);
    if (pos == rx->pos) {
        return 0;
    }

    /* SEE: pairs with PUBLISH */
    other.word = __atomic_load_n((const uint64_t *)pos, __ATOMIC_ACQUIRE);
    if (other.lap != lap) {
        return 0;
    }

    /* SEE: what was published before that is there by now */
    record->word = __atomic_load_n((const uint64_t *)rx->pos, __ATOMIC_ACQUIRE);
    if (record->lap != rx->lap) {
        *record = other;
        xshm_ring_rx_move(rx, rx->pos + xshm_ring_line_rest(rx->pos), 1);
    }

    return 1;
}

/** May a record of one line with such a payload stand where the consumer
 *  looks? */
static inline int
xshm_ring_rx_is_placed(const xshm_ring_rx_t *rx, uint32_t size)
{
    return (xshm_ring_line_offset(rx->pos) == 0) ||
           (xshm_ring_is_short(size) &&
            (xshm_ring_short_length(size) <= xshm_ring_line_rest(rx->pos)));
}

/**
 * Look at the next record, and leave it there.
 *
 * @param [in]  rx      Consumer.
 * @param [out] record  If there is one: the private, checked copy of its
 *                      header. The payload is at xshm_ring_rx_payload(); the
 *                      producer may change it at any time. For a message in
 *                      the turn line its size and id: xshm_turn_take() has it.
 */
static inline xshm_ring_peek_t
xshm_ring_rx_peek(xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    /* SEE: pairs with PUBLISH */
    record->word = __atomic_load_n((const uint64_t *)rx->pos, __ATOMIC_ACQUIRE);
    if ((record->lap != rx->lap) && !xshm_ring_rx_find_other(rx, record)) {
        if (xshm_ring_unlikely(rx->consumed != rx->given_back)) {
            xshm_ring_rx_give_back(rx);
        }
        return xshm_ring_rx_peek_turn(rx, record);
    }

    if (xshm_ring_likely((record->type == XSHM_RECORD_AM) &&
                         (record->size <= XSHM_RING_LINE_PAYLOAD) &&
                         xshm_ring_rx_is_placed(rx, record->size))) {
        return XSHM_RING_RECORD;
    }

    return xshm_ring_rx_peek_slow(rx, record);
}

/**
 * Be done with the record that was looked at; its payload is not read again.
 *
 * @param [in] lines  Its length: xshm_ring_lines(record.size). Not of a short
 *                    one, which stands anywhere in its line, so that this would
 *                    pass the end of the ring. For a record of one line give
 *                    the constant: else the processor cannot look for the next
 *                    record before it has seen this one's size
 *                    (docs/performance.md: 4 times the message rate).
 */
static inline void xshm_ring_rx_release(xshm_ring_rx_t *rx, uint32_t lines)
{
    ++rx->num_records;
    xshm_ring_rx_move(rx, rx->pos + ((size_t)lines * XSHM_ABI_LINE_SIZE),
                      lines);
}

/** The same of a short record.
 *
 *  @param [in] length  xshm_ring_short_length(record.size), a constant, too. */
static inline void xshm_ring_rx_release_short(xshm_ring_rx_t *rx, size_t length)
{
    const uint8_t *next = rx->pos + length;

    ++rx->num_records;
    if (xshm_ring_line_offset(next) != 0) {
        rx->pos = next;
    } else {
        xshm_ring_rx_move(rx, next, 1);
    }
}

/** The same of any record, where time does not matter */
static inline void xshm_ring_rx_release_any(xshm_ring_rx_t *rx, uint32_t size)
{
    if (xshm_ring_is_short(size)) {
        xshm_ring_rx_release_short(rx, xshm_ring_short_length(size));
    } else {
        xshm_ring_rx_release(rx, xshm_ring_lines(size));
    }
}

/** Is there a record, at one place or the other? Only whether: peek reads
 *  it. */
static inline int xshm_ring_rx_has_record(const xshm_ring_rx_t *rx)
{
    xshm_abi_record_t record, other;
    const uint8_t    *pos;
    uint16_t          lap;

    pos = xshm_ring_rx_other_place(rx, &lap);
    /* SEE: pairs with PUBLISH */
    record.word = __atomic_load_n((const uint64_t *)rx->pos, __ATOMIC_ACQUIRE);
    other.word  = __atomic_load_n((const uint64_t *)pos, __ATOMIC_ACQUIRE);
    return (record.lap == rx->lap) || (other.lap == lap);
}

/**
 * Does @ref xshm_ring_rx_peek have anything to do: something to read, or to
 * give back? It is shorter, changes nothing, and calls nothing.
 */
static inline int xshm_ring_rx_has_news(const xshm_ring_rx_t *rx)
{
    xshm_abi_turn_head_t head;

    return xshm_ring_rx_has_record(rx) || xshm_ring_rx_has_turn(rx, &head) ||
           (rx->consumed != rx->given_back);
}

/**
 * Is there nothing to read? Gives back everything that was consumed, as
 * @ref xshm_ring_rx_peek does.
 */
static inline int xshm_ring_rx_is_empty(xshm_ring_rx_t *rx)
{
    xshm_abi_turn_head_t head;

    if (xshm_ring_rx_has_record(rx) || xshm_ring_rx_has_turn(rx, &head)) {
        return 0;
    }

    if (rx->consumed != rx->given_back) {
        xshm_ring_rx_give_back(rx);
    }
    return 1;
}

/** Payload of the record that was looked at, in memory that the producer may
 *  still write */
static inline const void *xshm_ring_rx_payload(const xshm_ring_rx_t *rx)
{
    return rx->pos + XSHM_RING_HEADER_SIZE;
}

#endif
