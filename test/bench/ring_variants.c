/*
 * Variants of a single-producer single-consumer ring between two processes,
 * timed against each other: the figures behind the ring's layout.
 *
 * Every variant is compiled into functions of its own: the fields of its
 * description are constants there, so none pays for the others' options.
 * Two pinned processes share a memfd. Rounds are short and alternate between
 * the variants; of each round the lowest decile of the blocks counts, of all
 * rounds the median. docs/performance.md tells what was learnt.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#include <stddef.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HEADER_SIZE    8u
#define WRAP_FLAG      (UINT64_C(1) << 40)
#define VALID_FLAG     (UINT64_C(1) << 41)
#define LAP_SHIFT      48
#define LENGTH_MASK    UINT64_C(0xffffff)
#define SEQ_PAYLOAD    (BENCH_LINE - HEADER_SIZE)
#define PREFETCH_PIECE 1024u
#define MAX_RING       (256u * 1024)
#define MAX_MESSAGE    8192u
#define BLOCKS         41
#define MAX_ROUNDS     101
#define GRANULE_MIN    16u
#define WORD_BITS      64u
#define ARRAY_SIZE(_a) (sizeof(_a) / sizeof((_a)[0]))

typedef enum {
    LAYOUT_CLEAR, /* next header is zeroed before this one is published */
    LAYOUT_LAP,   /* header carries the lap; only old payload is zeroed */
    LAYOUT_SEQ    /* each line starts with the lap: payload is cut in 56 B */
} layout_t;

typedef enum {
    COPY_MEMCPY,
    COPY_AVX2,
    COPY_AVX512,
    COPY_AVX512_ALIGNED,
    COPY_PREFETCH,
    COPY_MOVSB,
    COPY_NT,
    COPY_NONE /* receiver only: the data stays in the ring, untouched */
} copy_t;

/*
 * A size computed from the header makes the next header's address wait for
 * this header's line to travel. A branch on the usual size lets the CPU guess
 * the address and fetch the next lines at the same time.
 */
typedef enum {
    GUESS_NONE,
    GUESS_GRANULE, /* branch on records of one granule */
    GUESS_LAST     /* and on records of the same size as the last one */
} guess_t;

typedef struct {
    const char *name;
    layout_t    layout;
    unsigned    granule;     /* records are multiples of this */
    unsigned    tx_prefetch; /* lines after the next header, for writing */
    int         tx_early;    /* ask for the record's line at once */
    unsigned    rx_prefetch; /* lines after the record, for reading */
    int         demote;      /* CLDEMOTE what was published */
    unsigned    credit_div;  /* credits return per 1/credit_div of the ring */
    int         credit_idle; /* and when the ring is found empty */
    unsigned    pause;       /* pauses after an empty poll */
    int         data_line;   /* longer payload starts at a line of its own */
    guess_t     guess;
    copy_t      tx_copy;
    copy_t      rx_copy;
} variant_t;

/* One direction: the part in shared memory. */
typedef struct {
    uint64_t credit __attribute__((aligned(BENCH_LINE)));
    uint8_t  pad[BENCH_LINE];
    uint8_t  data[MAX_RING] __attribute__((aligned(4096)));
} shared_ring_t;

/* One direction: one side's private view. */
typedef struct {
    uint8_t  *data;
    uint64_t *credit;
    unsigned  size;
    unsigned  offset;
    uint64_t  position; /* bytes sent or consumed since the start */
    uint64_t  credited; /* sender: last value read; receiver: last written */
    uint64_t  lap;
    uint64_t  sequence; /* number of the next message: checked */
    unsigned  last_length;
    unsigned  last_record;
    uint64_t  dirty[MAX_RING / GRANULE_MIN / WORD_BITS];
} side_t;

typedef enum {
    TEST_LATENCY,
    TEST_STREAM,
    TEST_EXIT
} test_t;

typedef struct {
    uint32_t      go __attribute__((aligned(BENCH_LINE)));
    uint32_t      done __attribute__((aligned(BENCH_LINE)));
    test_t        test __attribute__((aligned(BENCH_LINE)));
    unsigned      variant;
    unsigned      size;
    unsigned      ring_size;
    unsigned      count;
    shared_ring_t ring[2];
} shared_t;

typedef void (*stream_func_t)(side_t *side, unsigned size, unsigned count);
typedef void (*echo_func_t)(side_t *tx, side_t *rx, unsigned size,
                            unsigned count);

typedef struct {
    const variant_t *variant;
    stream_func_t    send;
    stream_func_t    receive;
    echo_func_t      ping;
    echo_func_t      pong;
} instance_t;

static uint8_t *user_buffer;


#if defined(__x86_64__)
BENCH_INLINE void prefetch_write(void *line)
{
    __asm__ volatile("prefetchw (%0)" : : "r"(line));
}

BENCH_INLINE void demote_line(void *line)
{
    /* CLDEMOTE; a hint that executes as a NOP where it is not known */
    __asm__ volatile("cldemote (%0)" : : "r"(line) : "memory");
}

BENCH_INLINE void copy_movsb(void *dst, const void *src, size_t length)
{
    __asm__ volatile("rep movsb"
                     : "+D"(dst), "+S"(src), "+c"(length)
                     :
                     : "memory");
}

/* Vector copies do whole vectors; memcpy() does what is left. */
__attribute__((target("avx2"))) static void
copy_avx2(void *dst, const void *src, size_t length)
{
    size_t i;

    for (i = 0; i + sizeof(__m256i) <= length; i += sizeof(__m256i)) {
        _mm256_storeu_si256((void *)((uint8_t *)dst + i),
                            _mm256_loadu_si256(
                                    (void *)((const uint8_t *)src + i)));
    }
    memcpy((uint8_t *)dst + i, (const uint8_t *)src + i, length - i);
}

__attribute__((target("avx512f"))) static void
copy_avx512(void *dst, const void *src, size_t length)
{
    size_t i;

    for (i = 0; i + sizeof(__m512i) <= length; i += sizeof(__m512i)) {
        _mm512_storeu_si512((uint8_t *)dst + i,
                            _mm512_loadu_si512((const uint8_t *)src + i));
    }
    memcpy((uint8_t *)dst + i, (const uint8_t *)src + i, length - i);
}

/* A store that spans two lines costs two: start with what fills the first. */
static void copy_avx512_aligned(void *dst, const void *src, size_t length)
{
    size_t head = -(uintptr_t)dst % BENCH_LINE;

    head = (head < length) ? head : length;
    memcpy(dst, src, head);
    copy_avx512((uint8_t *)dst + head, (const uint8_t *)src + head,
                length - head);
}

static void copy_nt(void *dst, const void *src, size_t length)
{
    uint64_t word;
    size_t   i;

    for (i = 0; i < length; i += sizeof(word)) {
        memcpy(&word, (const uint8_t *)src + i, sizeof(word));
        _mm_stream_si64((void *)((uint8_t *)dst + i), word);
    }
    _mm_sfence(); /* streaming stores are not ordered with the publishing */
}
#else
/* Elsewhere, what is special to x86_64 is as the plain variant. */
#define prefetch_write(_line)                    __builtin_prefetch(_line, 1)
#define demote_line(_line)                       ((void)(_line))
#define copy_movsb(_dst, _src, _length)          memcpy(_dst, _src, _length)
#define copy_avx2(_dst, _src, _length)           memcpy(_dst, _src, _length)
#define copy_avx512(_dst, _src, _length)         memcpy(_dst, _src, _length)
#define copy_avx512_aligned(_dst, _src, _length) memcpy(_dst, _src, _length)
#define copy_nt(_dst, _src, _length)             memcpy(_dst, _src, _length)
#endif


/* Ask for the lines of the next piece before copying this one. */
static void copy_prefetch(void *dst, const void *src, size_t length)
{
    size_t part, i, j;

    for (i = 0; i < length; i += part) {
        part = length - i;
        part = (part < PREFETCH_PIECE) ? part : PREFETCH_PIECE;
        for (j = i + part; (j < length) && (j < i + part + PREFETCH_PIECE);
             j += BENCH_LINE) {
            __builtin_prefetch((const uint8_t *)src + j);
        }
        memcpy((uint8_t *)dst + i, (const uint8_t *)src + i, part);
    }
}

BENCH_INLINE void
copy_data(copy_t copy, void *dst, const void *src, size_t length)
{
    switch (copy) {
    case COPY_MEMCPY:
        memcpy(dst, src, length);
        break;
    case COPY_AVX2:
        copy_avx2(dst, src, length);
        break;
    case COPY_AVX512:
        copy_avx512(dst, src, length);
        break;
    case COPY_AVX512_ALIGNED:
        copy_avx512_aligned(dst, src, length);
        break;
    case COPY_PREFETCH:
        copy_prefetch(dst, src, length);
        break;
    case COPY_MOVSB:
        copy_movsb(dst, src, length);
        break;
    case COPY_NT:
        copy_nt(dst, src, length);
        break;
    case COPY_NONE:
        memcpy(dst, src, sizeof(uint64_t));
        break;
    }
}

BENCH_INLINE uint64_t header_load(const uint8_t *at)
{
    return __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
}

BENCH_INLINE void header_store(uint8_t *at, uint64_t header)
{
    __atomic_store_n((uint64_t *)at, header, __ATOMIC_RELEASE);
}

BENCH_INLINE void header_clear(uint8_t *at)
{
    __atomic_store_n((uint64_t *)at, 0, __ATOMIC_RELAXED);
}

/* Where the payload starts in its record. */
BENCH_INLINE unsigned data_offset(const variant_t *v, unsigned length)
{
    return (v->data_line && (length > (BENCH_LINE - HEADER_SIZE))) ?
                   BENCH_LINE :
                   HEADER_SIZE;
}

BENCH_INLINE unsigned record_size(const variant_t *v, unsigned length)
{
    if (v->layout == LAYOUT_SEQ) {
        return ((length + SEQ_PAYLOAD - 1) / SEQ_PAYLOAD) * BENCH_LINE;
    }
    return (data_offset(v, length) + length + v->granule - 1) &
           ~(v->granule - 1);
}

BENCH_INLINE void side_advance_lap(side_t *side)
{
    side->offset = 0;
    side->lap    = (side->lap == UINT16_MAX) ? 1 : (side->lap + 1);
}

/* Remember that these granules hold payload, not headers. */
BENCH_INLINE void
dirty_set(const variant_t *v, side_t *side, unsigned start, unsigned length)
{
    unsigned i   = (start / v->granule) + 1;
    unsigned end = (start + length) / v->granule;
    unsigned bits;

    for (; i < end; i += bits) {
        bits = WORD_BITS - (i % WORD_BITS);
        bits = (bits < end - i) ? bits : (end - i);
        side->dirty[i / WORD_BITS] |= (~UINT64_C(0) >> (WORD_BITS - bits))
                                      << (i % WORD_BITS);
    }
}

BENCH_INLINE void
next_header_prepare(const variant_t *v, side_t *side, unsigned next)
{
    unsigned i = next / v->granule;

    if (v->layout == LAYOUT_CLEAR) {
        header_clear(side->data + next);
    } else if (v->layout == LAYOUT_LAP) {
        if (__builtin_expect((side->dirty[i / WORD_BITS] >> (i % WORD_BITS)) &
                                     1,
                             0)) {
            header_clear(side->data + next);
            side->dirty[i / WORD_BITS] &= ~(UINT64_C(1) << (i % WORD_BITS));
        }
    }
}

BENCH_INLINE void room_wait(side_t *tx, unsigned need)
{
    while (__builtin_expect(tx->size - (tx->position - tx->credited) < need,
                            0)) {
        tx->credited = __atomic_load_n(tx->credit, __ATOMIC_ACQUIRE);
        if (tx->size - (tx->position - tx->credited) < need) {
            bench_relax();
        }
    }
}

BENCH_INLINE void seq_write(side_t *tx, const uint8_t *src, unsigned length)
{
    uint8_t *line   = tx->data + tx->offset;
    uint64_t header = VALID_FLAG | (tx->lap << LAP_SHIFT) | length;
    unsigned done, part;

    for (done = 0; done < length; done += part, line += BENCH_LINE) {
        part = length - done;
        part = (part < SEQ_PAYLOAD) ? part : SEQ_PAYLOAD;
        if (part == SEQ_PAYLOAD) {
            memcpy(line + HEADER_SIZE, src + done, SEQ_PAYLOAD);
        } else {
            memcpy(line + HEADER_SIZE, src + done, part);
        }
        header_store(line, header);
    }
}

BENCH_INLINE void lines_prefetch_write(const variant_t *v, side_t *tx)
{
    unsigned at = tx->offset;
    unsigned i;

    for (i = 0; i < v->tx_prefetch; ++i) {
        at += BENCH_LINE;
        prefetch_write(tx->data + ((at < tx->size) ? at : (at - tx->size)));
    }
}

BENCH_INLINE void
message_send(const variant_t *v, side_t *tx, uint8_t *src, unsigned length)
{
    unsigned record = record_size(v, length);
    unsigned waste  = 0;
    unsigned next, i;

    if (v->tx_early) {
        prefetch_write(tx->data + tx->offset);
    }

    if (__builtin_expect((tx->offset + record) > tx->size, 0)) {
        waste = tx->size - tx->offset;
    }

    room_wait(tx, waste + record + v->granule);
    if (__builtin_expect(waste > 0, 0)) {
        next_header_prepare(v, tx, 0);
        header_store(tx->data + tx->offset,
                     VALID_FLAG | WRAP_FLAG | (tx->lap << LAP_SHIFT));
        tx->position += waste;
        side_advance_lap(tx);
    }

    memcpy(src, &tx->sequence, sizeof(tx->sequence));
    tx->sequence++;
    next = tx->offset + record;
    next = (next == tx->size) ? 0 : next;
    if (v->layout == LAYOUT_SEQ) {
        seq_write(tx, src, length);
    } else {
        copy_data(v->tx_copy, tx->data + tx->offset + data_offset(v, length),
                  src, length);
        next_header_prepare(v, tx, next);
        if ((v->layout == LAYOUT_LAP) && (record > v->granule)) {
            dirty_set(v, tx, tx->offset, record);
        }
        header_store(tx->data + tx->offset,
                     VALID_FLAG | (tx->lap << LAP_SHIFT) | length);
    }

    if (v->demote) {
        for (i = 0; i < record; i += BENCH_LINE) {
            demote_line(tx->data + tx->offset + i);
        }
    }

    tx->position += record;
    if (next == 0) {
        side_advance_lap(tx);
    } else {
        tx->offset = next;
    }
    lines_prefetch_write(v, tx);
}

BENCH_INLINE int
header_valid(const variant_t *v, const side_t *rx, uint64_t header)
{
    return (v->layout == LAYOUT_CLEAR) ? (header != 0) :
                                         ((header >> LAP_SHIFT) == rx->lap);
}

BENCH_INLINE void credit_return(side_t *rx)
{
    rx->credited = rx->position;
    __atomic_store_n(rx->credit, rx->position, __ATOMIC_RELEASE);
}

BENCH_INLINE void seq_read(side_t *rx, uint8_t *dst, unsigned length)
{
    const uint8_t *line = rx->data + rx->offset;
    unsigned       done, part;

    for (done = 0; done < length; done += part, line += BENCH_LINE) {
        while ((header_load(line) >> LAP_SHIFT) != rx->lap) {
            bench_relax();
        }
        part = length - done;
        part = (part < SEQ_PAYLOAD) ? part : SEQ_PAYLOAD;
        if (part == SEQ_PAYLOAD) {
            memcpy(dst + done, line + HEADER_SIZE, SEQ_PAYLOAD);
        } else {
            memcpy(dst + done, line + HEADER_SIZE, part);
        }
    }
}

BENCH_INLINE void lines_prefetch_read(const variant_t *v, side_t *rx)
{
    unsigned at = rx->offset;
    unsigned i;

    for (i = 0; i < v->rx_prefetch; ++i) {
        at += BENCH_LINE;
        __builtin_prefetch(rx->data + ((at < rx->size) ? at : (at - rx->size)));
    }
}

BENCH_INLINE uint64_t header_poll(const variant_t *v, side_t *rx)
{
    uint64_t header;
    unsigned i;

    for (;;) {
        header = header_load(rx->data + rx->offset);
        if (__builtin_expect(header_valid(v, rx, header), 1)) {
            if (__builtin_expect(!(header & WRAP_FLAG), 1)) {
                return header;
            }
            rx->position += rx->size - rx->offset;
            side_advance_lap(rx);
        } else {
            if (v->credit_idle && (rx->credited != rx->position)) {
                credit_return(rx);
            }
            for (i = 0; i < v->pause; ++i) {
                bench_relax();
            }
        }
    }
}

BENCH_INLINE void
message_copy_out(const variant_t *v, side_t *rx, uint8_t *dst, unsigned length)
{
    if (v->layout == LAYOUT_SEQ) {
        seq_read(rx, dst, length);
    } else {
        copy_data(v->rx_copy, dst,
                  rx->data + rx->offset + data_offset(v, length), length);
    }
}

/* Returns the record's size. */
BENCH_INLINE unsigned
message_consume(const variant_t *v, side_t *rx, uint8_t *dst, unsigned length)
{
    unsigned record;

    if ((v->guess != GUESS_NONE) && (v->layout != LAYOUT_SEQ) &&
        (length <= v->granule - HEADER_SIZE)) {
        /* a constant size: cheaper than the right one */
        copy_data(v->rx_copy, dst, rx->data + rx->offset + HEADER_SIZE,
                  v->granule - HEADER_SIZE);
        return v->granule;
    }

    if ((v->guess == GUESS_LAST) && (length == rx->last_length)) {
        /* unlike the length, this does not come from the ring */
        record = rx->last_record;
        message_copy_out(v, rx, dst, length);
        return record;
    }

    message_copy_out(v, rx, dst, length);
    record          = record_size(v, length);
    rx->last_length = length;
    rx->last_record = record;
    return record;
}

BENCH_INLINE void message_receive(const variant_t *v, side_t *rx, uint8_t *dst)
{
    uint64_t header = header_poll(v, rx);
    unsigned record = message_consume(v, rx, dst, header & LENGTH_MASK);
    uint64_t sequence;

    memcpy(&sequence, dst, sizeof(sequence));
    if (__builtin_expect(sequence != rx->sequence, 0)) {
        fprintf(stderr, "%s: message %lu has number %lu\n", v->name,
                rx->sequence, sequence);
        abort();
    }

    rx->sequence++;
    rx->position += record;
    rx->offset += record;
    if (rx->offset == rx->size) {
        side_advance_lap(rx);
    }
    lines_prefetch_read(v, rx);
    if (__builtin_expect((rx->position - rx->credited) >=
                                 (rx->size / v->credit_div),
                         0)) {
        credit_return(rx);
    }
}

BENCH_INLINE void
stream_send(const variant_t *v, side_t *tx, unsigned size, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        message_send(v, tx, user_buffer, size);
    }
}

BENCH_INLINE void stream_receive(const variant_t *v, side_t *rx, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        message_receive(v, rx, user_buffer);
    }
}

BENCH_INLINE void ping_loop(const variant_t *v, side_t *tx, side_t *rx,
                            unsigned size, unsigned count, int first)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        if (first) {
            message_send(v, tx, user_buffer, size);
        }
        message_receive(v, rx, user_buffer);
        if (!first) {
            message_send(v, tx, user_buffer, size);
        }
    }
}

/* Sizes are constants too, as they are in a transport's short send. */
#define FOR_EACH_SIZE(_) _(8) _(32) _(56) _(120) _(248) _(1024) _(8192)

#define CASE_SEND(_size) \
    case _size: \
        stream_send(v, side, _size, count); \
        break;
#define CASE_PING(_size) \
    case _size: \
        ping_loop(v, tx, rx, _size, count, 1); \
        break;
#define CASE_PONG(_size) \
    case _size: \
        ping_loop(v, tx, rx, _size, count, 0); \
        break;

#define INSTANCE_DEFINE(_id, _name, ...) \
    static const variant_t variant_##_id = {.name = _name, __VA_ARGS__}; \
\
    BENCH_NOINLINE void send_##_id(side_t *side, unsigned size, \
                                   unsigned count) \
    { \
        const variant_t *v = &variant_##_id; \
\
        switch (size) { \
            FOR_EACH_SIZE(CASE_SEND) \
        } \
    } \
\
    BENCH_NOINLINE void receive_##_id(side_t *side, unsigned size, \
                                      unsigned count) \
    { \
        stream_receive(&variant_##_id, side, count); \
    } \
\
    BENCH_NOINLINE void ping_##_id(side_t *tx, side_t *rx, unsigned size, \
                                   unsigned count) \
    { \
        const variant_t *v = &variant_##_id; \
\
        switch (size) { \
            FOR_EACH_SIZE(CASE_PING) \
        } \
    } \
\
    BENCH_NOINLINE void pong_##_id(side_t *tx, side_t *rx, unsigned size, \
                                   unsigned count) \
    { \
        const variant_t *v = &variant_##_id; \
\
        switch (size) { \
            FOR_EACH_SIZE(CASE_PONG) \
        } \
    }

#define INSTANCE_ENTRY(_id, ...) \
    {&variant_##_id, send_##_id, receive_##_id, ping_##_id, pong_##_id},

/* What most variants have; credits return per quarter and when idle. */
#define LINE   .granule = 64, .credit_div = 4, .credit_idle = 1
#define PACK16 .granule = 16, .credit_div = 4, .credit_idle = 1
#define PACK32 .granule = 32, .credit_div = 4, .credit_idle = 1
#define LAP    .layout = LAYOUT_LAP
#define SEQ    .layout = LAYOUT_SEQ
#define GUESS  .guess = GUESS_GRANULE
#define LAST   .guess = GUESS_LAST

/* identifier, name, fields; what is not named is 0 */
#define VARIANTS(_) \
    _(clear, "clear", LINE) \
    _(clear_g, "clear+guess", LINE, GUESS) \
    _(lap, "lap", LINE, LAP) \
    _(lap_g, "lap+guess", LINE, LAP, GUESS) \
    _(lap_l, "lap+last", LINE, LAP, LAST) \
    _(lap_dl, "lap+last+dataline", LINE, LAP, LAST, .data_line = 1) \
    _(lap_dlnc, "lap+last+dataline+rx-nocopy", LINE, LAP, LAST, \
      .data_line = 1, .rx_copy = COPY_NONE) \
    _(lap_dlw4, "lap+last+dataline+prefetchw4", LINE, LAP, LAST, \
      .data_line = 1, .tx_prefetch = 4) \
    _(clear_dlw4, "clear+last+dataline+prefetchw4", LINE, LAST, \
      .data_line = 1, .tx_prefetch = 4) \
    _(seq, "seq", LINE, SEQ) \
    _(seq_l, "seq+last", LINE, SEQ, LAST) \
    _(pack16_lap_l, "pack16-lap+last", PACK16, LAP, LAST) \
    _(pack16_lap_lw1, "pack16-lap+last+prefetchw1", PACK16, LAP, LAST, \
      .tx_prefetch = 1) \
    _(pack16_lw1, "pack16+last+prefetchw1", PACK16, LAST, .tx_prefetch = 1) \
    _(pack16, "pack16", PACK16) \
    _(pack16_g, "pack16+guess", PACK16, GUESS) \
    _(pack16_lap_g, "pack16-lap+guess", PACK16, LAP, GUESS) \
    _(pack32, "pack32", PACK32) \
    _(pack32_g, "pack32+guess", PACK32, GUESS) \
    _(pack32_lap_g, "pack32-lap+guess", PACK32, LAP, GUESS) \
    _(clear_w1, "clear+guess+prefetchw1", LINE, GUESS, .tx_prefetch = 1) \
    _(clear_w4, "clear+guess+prefetchw4", LINE, GUESS, .tx_prefetch = 4) \
    _(clear_early, "clear+guess+early", LINE, GUESS, .tx_early = 1) \
    _(lap_w1, "lap+guess+prefetchw1", LINE, LAP, GUESS, .tx_prefetch = 1) \
    _(lap_w2, "lap+guess+prefetchw2", LINE, LAP, GUESS, .tx_prefetch = 2) \
    _(lap_w4, "lap+guess+prefetchw4", LINE, LAP, GUESS, .tx_prefetch = 4) \
    _(lap_w8, "lap+guess+prefetchw8", LINE, LAP, GUESS, .tx_prefetch = 8) \
    _(lap_early, "lap+guess+early", LINE, LAP, GUESS, .tx_early = 1) \
    _(lap_r1, "lap+guess+rxprefetch1", LINE, LAP, GUESS, .rx_prefetch = 1) \
    _(lap_r4, "lap+guess+rxprefetch4", LINE, LAP, GUESS, .rx_prefetch = 4) \
    _(lap_r8, "lap+guess+rxprefetch8", LINE, LAP, GUESS, .rx_prefetch = 8) \
    _(lap_dem, "lap+guess+cldemote", LINE, LAP, GUESS, .demote = 1) \
    _(lap_p1, "lap+guess+pause1", LINE, LAP, GUESS, .pause = 1) \
    _(lap_p2, "lap+guess+pause2", LINE, LAP, GUESS, .pause = 2) \
    _(lap_p4, "lap+guess+pause4", LINE, LAP, GUESS, .pause = 4) \
    _(lap_p8, "lap+guess+pause8", LINE, LAP, GUESS, .pause = 8) \
    _(lap_p4w1, "lap+guess+pause4+prefetchw1", LINE, LAP, GUESS, .pause = 4, \
      .tx_prefetch = 1) \
    _(lap_p4d, "lap+guess+pause4+cldemote", LINE, LAP, GUESS, .pause = 4, \
      .demote = 1) \
    _(lap_c8, "lap+guess+credit8", LAP, GUESS, .granule = 64, .credit_div = 8, \
      .credit_idle = 1) \
    _(lap_c2, "lap+guess+credit2", LAP, GUESS, .granule = 64, .credit_div = 2, \
      .credit_idle = 1) \
    _(lap_c8n, "lap+guess+credit8+busy", LAP, GUESS, .granule = 64, \
      .credit_div = 8) \
    _(lap_c4n, "lap+guess+credit4+busy", LAP, GUESS, .granule = 64, \
      .credit_div = 4) \
    _(lap_c2n, "lap+guess+credit2+busy", LAP, GUESS, .granule = 64, \
      .credit_div = 2) \
    _(avx2, "lap+guess+avx2", LINE, LAP, GUESS, .tx_copy = COPY_AVX2, \
      .rx_copy = COPY_AVX2) \
    _(avx512, "lap+guess+avx512", LINE, LAP, GUESS, .tx_copy = COPY_AVX512, \
      .rx_copy = COPY_AVX512) \
    _(avx512a, "lap+guess+avx512-aligned", LINE, LAP, GUESS, \
      .tx_copy = COPY_AVX512_ALIGNED, .rx_copy = COPY_AVX512_ALIGNED) \
    _(dataline, "lap+guess+dataline", LINE, LAP, GUESS, .data_line = 1) \
    _(dataline_512, "lap+guess+dataline+avx512", LINE, LAP, GUESS, \
      .data_line = 1, .tx_copy = COPY_AVX512, .rx_copy = COPY_AVX512) \
    _(dataline_avx2, "lap+guess+dataline+avx2", LINE, LAP, GUESS, \
      .data_line = 1, .tx_copy = COPY_AVX2, .rx_copy = COPY_AVX2) \
    _(dataline_movsb, "lap+guess+dataline+movsb", LINE, LAP, GUESS, \
      .data_line = 1, .tx_copy = COPY_MOVSB, .rx_copy = COPY_MOVSB) \
    _(dataline_pf, "lap+guess+dataline+copy-prefetch-rx", LINE, LAP, GUESS, \
      .data_line = 1, .rx_copy = COPY_PREFETCH) \
    _(movsb, "lap+guess+movsb", LINE, LAP, GUESS, .tx_copy = COPY_MOVSB, \
      .rx_copy = COPY_MOVSB) \
    _(movsb_tx, "lap+guess+movsb-tx", LINE, LAP, GUESS, .tx_copy = COPY_MOVSB) \
    _(movsb_rx, "lap+guess+movsb-rx", LINE, LAP, GUESS, .rx_copy = COPY_MOVSB) \
    _(nt_tx, "lap+guess+nt-tx", LINE, LAP, GUESS, .tx_copy = COPY_NT) \
    _(nocopy, "lap+guess+rx-nocopy", LINE, LAP, GUESS, .rx_copy = COPY_NONE) \
    _(nocopy_r4, "lap+guess+rx-nocopy+rxprefetch4", LINE, LAP, GUESS, \
      .rx_copy = COPY_NONE, .rx_prefetch = 4)

VARIANTS(INSTANCE_DEFINE)

static const instance_t instances[]     = {VARIANTS(INSTANCE_ENTRY)};
static const unsigned   message_sizes[] = {8, 32, 56, 120, 248, 1024, 8192};


static void side_init(side_t *side, shared_ring_t *ring, unsigned size)
{
    memset(side, 0, sizeof(*side));
    side->data   = ring->data;
    side->credit = &ring->credit;
    side->size   = size;
    side->lap    = 1;
}

/* Each side runs the same steps; the first one takes the times. */
static void run_blocks(shared_t *shm, int first, unsigned blocks, double *times)
{
    const instance_t *inst = &instances[shm->variant];
    static side_t     tx, rx;
    unsigned          i;
    double            start;

    side_init(&tx, &shm->ring[first ? 0 : 1], shm->ring_size);
    side_init(&rx, &shm->ring[first ? 1 : 0], shm->ring_size);
    for (i = 0; i < blocks; ++i) {
        start = bench_now();
        if (shm->test == TEST_LATENCY) {
            (first ? inst->ping : inst->pong)(&tx, &rx, shm->size, shm->count);
        } else if (first) {
            inst->send(&tx, shm->size, shm->count);
        } else {
            inst->receive(&rx, shm->size, shm->count);
        }
        if (first) {
            times[i] = (bench_now() - start) / shm->count;
        }
    }
}

static void second_side(shared_t *shm, unsigned blocks)
{
    uint32_t go = 0;

    for (;;) {
        while (__atomic_load_n(&shm->go, __ATOMIC_ACQUIRE) == go) {
            bench_relax();
        }
        go++;
        if (shm->test == TEST_EXIT) {
            return;
        }
        run_blocks(shm, 0, blocks, NULL);
        __atomic_store_n(&shm->done, go, __ATOMIC_RELEASE);
    }
}

/*
 * Whether every message gets room sooner or later: the largest record, what a
 * wrap may waste, and the credits that the receiver may still hold back.
 */
static int variant_fits(const variant_t *v, unsigned size, unsigned ring_size)
{
    return (2 * record_size(v, size)) + (ring_size / v->credit_div) <=
           ring_size;
}

static double first_side_run(shared_t *shm, unsigned variant, test_t test,
                             unsigned size, unsigned ring_size,
                             unsigned block_ns, unsigned blocks)
{
    unsigned record = size + HEADER_SIZE;
    double   times[BLOCKS];

    memset(shm->ring, 0, sizeof(shm->ring));
    shm->variant   = variant;
    shm->test      = test;
    shm->size      = size;
    shm->ring_size = ring_size;
    /* a guess of the time of one message: only the block's length hangs
     * on it */
    shm->count = (test == TEST_LATENCY) ? (block_ns / (200 + record / 4)) :
                                          (block_ns / (10 + record / 12));
    __atomic_store_n(&shm->go, shm->go + 1, __ATOMIC_RELEASE);
    run_blocks(shm, 1, blocks, times);
    while (__atomic_load_n(&shm->done, __ATOMIC_ACQUIRE) != shm->go) {
        bench_relax();
    }

    /* the first block warms up */
    return bench_undisturbed(times + 1, blocks - 1) /
           ((test == TEST_LATENCY) ? 2 : 1);
}

static int
variant_selected(unsigned i, const char *prefix, unsigned size, unsigned ring)
{
    const variant_t *v = instances[i].variant;

    return (strncmp(v->name, prefix, strlen(prefix)) == 0) &&
           variant_fits(v, size, ring);
}

static void usage(void)
{
    printf("usage: ring_variants [--cpus A,B] [--rounds N] [--size BYTES]... "
           "[--ring BYTES]...\n"
           "                     [--variant NAME-PREFIX] [--list]\n"
           "prints CSV: variant,ring,size,test,median_ns,best_ns (per "
           "message)\n");
}

static void run_all(shared_t *shm, const unsigned *sizes, unsigned num_sizes,
                    const unsigned *rings, unsigned num_rings,
                    const char *prefix, unsigned rounds)
{
    static double  values[ARRAY_SIZE(instances)][2][MAX_ROUNDS];
    const unsigned block_ns = 100000;
    const unsigned blocks   = BLOCKS;
    unsigned       ring, size, round, i, test;

    printf("variant,ring,size,test,median_ns,best_ns\n");
    for (ring = 0; ring < num_rings; ++ring) {
        for (size = 0; size < num_sizes; ++size) {
            for (round = 0; round < rounds; ++round) {
                for (i = 0; i < ARRAY_SIZE(instances); ++i) {
                    if (!variant_selected(i, prefix, sizes[size],
                                          rings[ring])) {
                        continue;
                    }
                    for (test = 0; test < 2; ++test) {
                        values[i][test][round] =
                                first_side_run(shm, i, test, sizes[size],
                                               rings[ring], block_ns, blocks);
                    }
                }
            }

            for (i = 0; i < ARRAY_SIZE(instances); ++i) {
                if (!variant_selected(i, prefix, sizes[size], rings[ring])) {
                    continue;
                }
                for (test = 0; test < 2; ++test) {
                    printf("%s,%u,%u,%s,%.2f,%.2f\n",
                           instances[i].variant->name, rings[ring], sizes[size],
                           (test == TEST_LATENCY) ? "latency" : "stream",
                           bench_median(values[i][test], rounds),
                           values[i][test][0]); /* sorted by now */
                }
            }
            fflush(stdout);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
            {"cpus", required_argument, NULL, 'c'},
            {"rounds", required_argument, NULL, 'r'},
            {"size", required_argument, NULL, 's'},
            {"ring", required_argument, NULL, 'R'},
            {"variant", required_argument, NULL, 'v'},
            {"list", no_argument, NULL, 'l'},
            {"help", no_argument, NULL, 'h'},
            {NULL, 0, NULL, 0}};
    unsigned    sizes[ARRAY_SIZE(message_sizes)], rings[8];
    unsigned    num_sizes = 0, num_rings = 0, rounds = 9, i;
    int         cpus[2] = {0, 1};
    const char *prefix  = "";
    shared_t   *shm;
    pid_t       pid;
    int         opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            bench_parse_cpus(optarg, cpus);
            break;
        case 'r':
            rounds = atoi(optarg);
            break;
        case 's':
            sizes[num_sizes++ % ARRAY_SIZE(message_sizes)] = atoi(optarg);
            break;
        case 'R':
            rings[num_rings++ % ARRAY_SIZE(rings)] = atoi(optarg);
            break;
        case 'v':
            prefix = optarg;
            break;
        case 'l':
            for (i = 0; i < ARRAY_SIZE(instances); ++i) {
                printf("%s\n", instances[i].variant->name);
            }
            return 0;
        default:
            usage();
            return opt != 'h';
        }
    }

    if (num_sizes == 0) {
        memcpy(sizes, message_sizes, sizeof(message_sizes));
        num_sizes = ARRAY_SIZE(message_sizes);
    }
    if (num_rings == 0) {
        rings[num_rings++] = 56 * 1024;
    }
    if ((rounds < 1) || (rounds > MAX_ROUNDS)) {
        fprintf(stderr, "--rounds must be 1 to %d\n", MAX_ROUNDS);
        return 1;
    }

    shm         = bench_shm_alloc(sizeof(*shm));
    user_buffer = bench_alloc(2 * MAX_MESSAGE);
    pid         = bench_fork();
    if (pid == 0) {
        bench_pin(cpus[1]);
        second_side(shm, BLOCKS);
        _exit(0);
    }

    bench_pin(cpus[0]);
    run_all(shm, sizes, num_sizes, rings, num_rings, prefix, rounds);
    shm->test = TEST_EXIT;
    __atomic_store_n(&shm->go, shm->go + 1, __ATOMIC_RELEASE);
    bench_join(pid);
    return 0;
}
