/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * hostile: attacks a live process that uses xshm. One command a line on its
 * standard input, one answer a line: "ok ...", what was done and what the victim
 * was seen to do; or "error ...", and it ends.
 *
 *   hostile -d DEVICE
 *
 *   attack NAME ADDRESS [ARGUMENT]  ADDRESS is the victim's; see hostile_attacks
 *   stranger NAME ADDRESS           the same without the victim's token, which may
 *                                   be wrong in that address
 *   listen ADDRESS VICTIM           be somebody that the victim can connect to, on
 *                                   the machine of that address; "ok ADDRESS"
 *   receive NAME COUNT              take so many of the victim's channels, and
 *                                   misbehave; see hostile_receipts
 *   look HEX                        "ok N": how often do these bytes stand in
 *                                   what is still mapped of the victim's?
 *   shell COMMAND                   "ok OUTPUT", its lines joined by blanks
 */

#define _GNU_SOURCE

#include "hostile.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOSTILE_LINE_MAX  4096
#define HOSTILE_SECONDS   0.7 /* Of an attack that has no other end */
#define HOSTILE_MAX_KEPT  4096
#define HOSTILE_NUM_LINES (XSHM_ABI_RING_MIN_SIZE / XSHM_ABI_LINE_SIZE)
#define HOSTILE_MIN_LAPS  10u
#define HOSTILE_NO_TYPE   99u /* Of a record */
#define HOSTILE_TWICE_ID  6   /* Of messages that the victim reads twice */

const hostile_device_t *hostile_device = &hostile_local;
const char             *hostile_argument;
int                     hostile_is_lazy;
int                     hostile_is_stranger;

static hostile_address_t hostile_own;

/* The victim's pages that we never unmap */
static struct {
    const uint8_t *bytes;
    size_t         size;
} hostile_kept[HOSTILE_MAX_KEPT];
static unsigned hostile_num_kept;


void hostile_fail(const char *fmt, ...)
{
    va_list ap;

    printf("error ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    _exit(EXIT_FAILURE);
}

void hostile_say(const char *fmt, ...)
{
    va_list ap;

    printf("ok ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

double hostile_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + ((double)now.tv_nsec * 1e-9);
}

/* The same each time, so that what was found is found again */
uint64_t hostile_random(void)
{
    static __thread uint64_t state = 0x9e3779b97f4a7c15ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

void hostile_sleep_ms(unsigned milliseconds)
{
    usleep(milliseconds * 1000);
}

void hostile_fill_layout(hostile_channel_t *channel)
{
    xshm_abi_data_t *data = channel->data;

    data->magic       = XSHM_ABI_MAGIC;
    data->version     = XSHM_ABI_VERSION;
    data->ring_size   = (uint32_t)(channel->data_size - XSHM_ABI_RING_OFFSET);
    data->max_payload = XSHM_ABI_LINE_SIZE;
    data->num_pages   = (uint32_t)(channel->data_size / XSHM_ABI_PAGE_SIZE);
    data->live        = 1;
}

static void
hostile_alloc(hostile_channel_t *channel, const hostile_address_t *victim)
{
    memset(channel, 0, sizeof(*channel));
    channel->is_sender = 1;
    hostile_device->alloc(channel, victim, XSHM_ABI_RING_MIN_SIZE);
}

void hostile_expect_answer(hostile_channel_t       *channel,
                           const hostile_address_t *victim, int wanted)
{
    int answer;

    hostile_device->ask(channel, victim);
    answer = hostile_device->answer(channel, HOSTILE_PATIENCE);
    if (answer != wanted) {
        hostile_fail("the answer to a request is %d, and not %d", answer,
                     wanted);
    }

    if (wanted != HOSTILE_ACCEPTED) {
        hostile_device->end(channel);
    }
}

void hostile_open(hostile_channel_t *channel, const hostile_address_t *victim)
{
    hostile_alloc(channel, victim);
    hostile_expect_answer(channel, victim, HOSTILE_ACCEPTED);
}

void hostile_knock(const hostile_address_t *victim)
{
    hostile_channel_t channel;

    hostile_alloc(&channel, victim);
    if (hostile_is_stranger) {
        hostile_expect_answer(&channel, victim, HOSTILE_UNKNOWN);
    } else {
        hostile_expect_answer(&channel, victim, HOSTILE_ACCEPTED);
        hostile_device->end(&channel);
    }
}

void hostile_expect_end(hostile_channel_t *channel)
{
    double deadline = hostile_now() + HOSTILE_PATIENCE;

    while (!hostile_device->is_ended(channel)) {
        if (hostile_now() > deadline) {
            hostile_fail("the victim keeps the channel");
        }
        hostile_sleep_ms(1);
    }

    hostile_device->end(channel);
}

static uint8_t *hostile_line(hostile_channel_t *channel, unsigned index)
{
    return (uint8_t *)channel->data + XSHM_ABI_RING_OFFSET +
           (index * XSHM_ABI_LINE_SIZE);
}

static uint64_t
hostile_header(unsigned type, unsigned id, uint32_t size, unsigned lap)
{
    xshm_abi_record_t record = {{.size = size,
                                 .type = (uint8_t)type,
                                 .id   = (uint8_t)id,
                                 .lap  = (uint16_t)lap}};

    return record.word;
}

static void
hostile_publish(hostile_channel_t *channel, unsigned index, uint64_t header)
{
    __atomic_store_n((uint64_t *)hostile_line(channel, index), header,
                     __ATOMIC_RELEASE);
}

/* The same in a unit of the last line */
static void
hostile_publish_unit(hostile_channel_t *channel, unsigned unit, uint64_t header)
{
    __atomic_store_n((uint64_t *)(hostile_line(channel, HOSTILE_NUM_LINES - 1) +
                                  (unit * XSHM_ABI_UNIT_SIZE)),
                     header, __ATOMIC_RELEASE);
}

/* One header in the first line, which the victim must not stand */
static void hostile_bad_header(const hostile_address_t *victim, uint64_t header)
{
    hostile_channel_t channel;

    hostile_open(&channel, victim);
    hostile_publish(&channel, 0, header);
    hostile_expect_end(&channel);
}

static void hostile_types(const hostile_address_t *victim)
{
    unsigned type;

    for (type = XSHM_RECORD_ATOMIC + 1; type < 256; type += 31) {
        hostile_bad_header(victim, hostile_header(type, 0, 8, 1));
    }
    hostile_bad_header(victim, hostile_header(0, 0, 8, 1));
    hostile_say("9 channels were ended");
}

static void hostile_lengths(const hostile_address_t *victim)
{
    static const uint32_t sizes[] = {XSHM_ABI_LINE_SIZE + 1,
                                     XSHM_ABI_RING_MIN_SIZE,
                                     XSHM_ABI_RING_MIN_SIZE - 7,
                                     INT32_MAX,
                                     UINT32_MAX - 7,
                                     UINT32_MAX};
    unsigned              i;

    for (i = 0; i < HOSTILE_ARRAY_SIZE(sizes); ++i) {
        hostile_bad_header(victim,
                           hostile_header(XSHM_RECORD_AM, 0, sizes[i], 1));
        hostile_bad_header(victim,
                           hostile_header(XSHM_RECORD_PUT, 0, sizes[i], 1));
    }
    hostile_say("12 channels were ended");
}

static void hostile_ids(const hostile_address_t *victim)
{
    hostile_bad_header(victim, hostile_header(XSHM_RECORD_AM, 32, 8, 1));
    hostile_bad_header(victim, hostile_header(XSHM_RECORD_AM, 255, 8, 1));
    hostile_say("2 channels were ended");
}

static void hostile_wrap_at_start(const hostile_address_t *victim)
{
    hostile_bad_header(victim, hostile_header(XSHM_RECORD_WRAP, 0, 0, 1));
    hostile_say("the channel was ended");
}

/* A SKIP that leads to a WRAP that leads back to it, whose laps another thread
 * counts up as fast as they are read */
static void *hostile_turn_main(void *arg)
{
    hostile_channel_t *channel  = arg;
    double             deadline = hostile_now() + HOSTILE_SECONDS;
    unsigned           lap;

    while (hostile_now() < deadline) {
        for (lap = 1; lap < XSHM_ABI_LAP_MAX; ++lap) {
            hostile_publish(channel, 1,
                            hostile_header(XSHM_RECORD_WRAP, 0, 0, lap));
            hostile_publish(channel, 0,
                            hostile_header(XSHM_RECORD_SKIP, 0, 0, lap));
        }
    }
    return NULL;
}

static void hostile_skip_loop(const hostile_address_t *victim)
{
    hostile_channel_t channel;
    pthread_t         thread;

    hostile_open(&channel, victim);
    hostile_check(pthread_create(&thread, NULL, hostile_turn_main, &channel) ==
                          0,
                  "pthread_create");
    pthread_join(thread, NULL);
    hostile_publish(&channel, 1, hostile_header(XSHM_RECORD_WRAP, 0, 0, 1));
    hostile_publish(&channel, 0, hostile_header(XSHM_RECORD_SKIP, 0, 0, 1));
    hostile_expect_end(&channel);
    hostile_bad_header(victim, hostile_header(XSHM_RECORD_SKIP, 0, 8, 1));
    hostile_say("2 channels were ended");
}

static void hostile_close_size(const hostile_address_t *victim)
{
    hostile_bad_header(victim, hostile_header(XSHM_RECORD_CLOSE, 0, 8, 1));
    hostile_say("the channel was ended");
}

/* The record that says that the turn line is in use, of this size. The name in it is
 * that of no channel of the victim's. */
static void
hostile_announce(hostile_channel_t *channel, unsigned line, uint32_t size)
{
    uint64_t name = hostile_random();

    memcpy(hostile_line(channel, line) + sizeof(xshm_abi_record_t), &name,
           sizeof(name));
    hostile_publish(channel, line,
                    hostile_header(XSHM_RECORD_TURN, 0, size, 1));
}

static void hostile_write_turn(hostile_channel_t *channel, uint32_t sequence,
                               unsigned number, unsigned size, unsigned id)
{
    xshm_abi_turn_head_t head = {{.sequence = sequence,
                                  .size     = (uint8_t)size,
                                  .id       = (uint8_t)id,
                                  .number   = (uint16_t)number}};

    __atomic_store_n(&channel->ret->turn.head.word, head.word,
                     __ATOMIC_RELEASE);
}

/* Only after that does the victim look at the turn line */
static void
hostile_open_turn(hostile_channel_t *channel, const hostile_address_t *victim)
{
    hostile_open(channel, victim);
    hostile_announce(channel, 0, sizeof(uint64_t));
}

/* What it must not stand: offered twice, or in a wrong size; a message that is too
 * long, or whose id there is not */
static void hostile_turn_rules(const hostile_address_t *victim)
{
    hostile_channel_t channel;

    hostile_open_turn(&channel, victim);
    hostile_announce(&channel, 1, sizeof(uint64_t));
    hostile_expect_end(&channel);

    hostile_open(&channel, victim);
    hostile_announce(&channel, 0, sizeof(uint64_t) + 1);
    hostile_expect_end(&channel);

    hostile_open_turn(&channel, victim);
    hostile_write_turn(&channel, 1, 1, XSHM_ABI_TURN_PAYLOAD + 1, 0);
    hostile_expect_end(&channel);

    hostile_open_turn(&channel, victim);
    hostile_write_turn(&channel, 1, 1, 8, 255);
    hostile_expect_end(&channel);
}

typedef struct {
    hostile_channel_t *channel;
    volatile int       is_done;
} hostile_turner_t;

/* Anything, often nearly right, all the time. The sizes are those of a message. */
static void *hostile_turner_main(void *arg)
{
    hostile_turner_t *turner  = arg;
    uint8_t          *payload = turner->channel->ret->turn.payload;
    uint64_t          word;

    while (!turner->is_done) {
        word = hostile_random();
        memcpy(payload + (word % (XSHM_ABI_TURN_PAYLOAD - sizeof(word))), &word,
               sizeof(word));
        hostile_write_turn(turner->channel, (uint32_t)(word >> 8) % 64,
                           (unsigned)(word >> 16) % 8,
                           (unsigned)(word >> 32) % (XSHM_ABI_TURN_PAYLOAD + 1),
                           (unsigned)(word >> 40) % 4);
    }
    return NULL;
}

/* Records that say that a message precedes them, which there is or is not */
static void hostile_flagged_lap(hostile_channel_t *channel)
{
    unsigned line;

    for (line = 1; line < HOSTILE_NUM_LINES - 1; ++line) {
        hostile_publish(channel, line,
                        hostile_header(XSHM_RECORD_AM | XSHM_RECORD_AFTER_TURN,
                                       0, XSHM_ABI_LINE_SIZE / 2, 1));
        sched_yield();
    }
    /* A record of no type, and so the end, however it is read */
    hostile_publish(channel, line,
                    hostile_header(HOSTILE_NO_TYPE | XSHM_RECORD_AFTER_TURN, 0,
                                   0, 1));
}

static void hostile_turn(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_SECONDS;
    unsigned          rounds   = 0;
    hostile_channel_t channel;
    hostile_turner_t  turner;
    pthread_t         thread;

    hostile_turn_rules(victim);
    while ((rounds < 5) || (hostile_now() < deadline)) {
        hostile_open_turn(&channel, victim);
        turner.channel = &channel;
        turner.is_done = 0;
        hostile_check(pthread_create(&thread, NULL, hostile_turner_main,
                                     &turner) == 0,
                      "pthread_create");
        hostile_flagged_lap(&channel);
        while (!hostile_device->is_ended(&channel)) {
            hostile_check(hostile_now() < deadline + HOSTILE_PATIENCE,
                          "the victim keeps the channel");
        }
        turner.is_done = 1;
        pthread_join(thread, NULL);
        hostile_device->end(&channel);
        ++rounds;
    }
    hostile_say("%u channels were ended", rounds + 4);
}

/* All lines but the last one, with a message each, and then short ones in it */
static void hostile_fill(hostile_channel_t *channel, unsigned units)
{
    uint64_t message =
            hostile_header(XSHM_RECORD_AM, 0, XSHM_ABI_LINE_SIZE / 2, 1);
    unsigned i;

    for (i = 0; i < HOSTILE_NUM_LINES - 1; ++i) {
        hostile_publish(channel, i, message);
    }
    for (i = 0; i < units; ++i) {
        hostile_publish_unit(channel, i,
                             hostile_header(XSHM_RECORD_AM, 0, 0, 1));
    }
}

static void hostile_await_lines(hostile_channel_t *channel, uint32_t wanted)
{
    double   deadline = hostile_now() + HOSTILE_PATIENCE;
    uint32_t consumed;

    do {
        consumed = __atomic_load_n(&channel->ret->consumed, __ATOMIC_ACQUIRE);
        if (hostile_now() > deadline) {
            hostile_fail("the victim has consumed %u lines, and not %u",
                         consumed, wanted);
        }
        /* It may need this processor */
        sched_yield();
    } while (consumed != wanted);
}

/* An operation that is too short to be one, in the rest of the last line: it is
 * refused, and what follows is at the start of the ring */
static void hostile_short_op(const hostile_address_t *victim, unsigned unit,
                             unsigned type, uint32_t size)
{
    hostile_channel_t channel;

    hostile_open(&channel, victim);
    hostile_fill(&channel, unit);
    hostile_await_lines(&channel, HOSTILE_NUM_LINES - 1);
    hostile_publish_unit(&channel, unit, hostile_header(type, 0, size, 1));
    hostile_publish(&channel, 0,
                    hostile_header(XSHM_RECORD_AM, 0, XSHM_ABI_LINE_SIZE / 2,
                                   2));
    hostile_await_lines(&channel, HOSTILE_NUM_LINES + 1);
    hostile_device->end(&channel);
}

static void hostile_units(const hostile_address_t *victim)
{
    const unsigned num_units = XSHM_ABI_LINE_SIZE / XSHM_ABI_UNIT_SIZE;
    unsigned       unit, type, count = 0;

    for (type = XSHM_RECORD_PUT; type <= XSHM_RECORD_ATOMIC; ++type) {
        for (unit = 0; unit < num_units; ++unit, ++count) {
            hostile_short_op(victim, unit, type, XSHM_ABI_UNIT_PAYLOAD);
        }
        for (unit = 0; unit < num_units - 1; ++unit, ++count) {
            hostile_short_op(victim, unit, type, XSHM_ABI_UNITS_PAYLOAD);
        }
    }
    hostile_say("%u operations were refused", count);
}

/* Two records, and a WRAP behind them: a lap in three lines, which the victim
 * follows */
static void hostile_lap(hostile_channel_t *channel, uint64_t laps)
{
    unsigned lap      = (unsigned)(laps % XSHM_ABI_LAP_MAX) + 1;
    uint32_t consumed = (uint32_t)((laps + 1) * HOSTILE_NUM_LINES);
    double   deadline = hostile_now() + HOSTILE_PATIENCE;

    hostile_publish(channel, 2, hostile_header(XSHM_RECORD_WRAP, 0, 0, lap));
    hostile_publish(channel, 1, hostile_header(XSHM_RECORD_AM, 0, 0, lap));
    hostile_publish(channel, 0, hostile_header(XSHM_RECORD_AM, 0, 0, lap));
    while (__atomic_load_n(&channel->ret->consumed, __ATOMIC_ACQUIRE) <
           consumed) {
        if (hostile_now() > deadline) {
            hostile_fail("the victim has followed %" PRIu64 " laps only", laps);
        }
        /* It may need this processor */
        sched_yield();
    }
}

static void hostile_wrap_loop(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_SECONDS;
    uint64_t          laps     = 0;
    hostile_channel_t channel;

    hostile_open(&channel, victim);
    while ((hostile_now() < deadline) || (laps < HOSTILE_MIN_LAPS)) {
        hostile_lap(&channel, laps++);
    }

    hostile_publish(&channel, 0,
                    hostile_header(HOSTILE_NO_TYPE, 0, 0,
                                   (unsigned)(laps % XSHM_ABI_LAP_MAX) + 1));
    hostile_expect_end(&channel);
    hostile_say("%" PRIu64 " laps", laps);
}

/* Headers that are right when they are checked, and not when they are used:
 * whatever stands there is read once */
static void hostile_moving_headers(const hostile_address_t *victim)
{
    unsigned          rounds   = 0;
    double            deadline = hostile_now() + HOSTILE_SECONDS;
    hostile_channel_t channel;
    uint32_t          i;

    while ((rounds < 5) || (hostile_now() < deadline)) {
        hostile_open(&channel, victim);
        for (i = 0; !hostile_device->is_ended(&channel) && (i < 20000); ++i) {
            hostile_publish(&channel, i % HOSTILE_NUM_LINES,
                            hostile_header(XSHM_RECORD_AM, 0, 56, 1));
            hostile_publish(&channel, i % HOSTILE_NUM_LINES,
                            hostile_header(XSHM_RECORD_AM, 0, UINT32_MAX, 1));
        }
        hostile_publish(&channel, 0, hostile_random());
        hostile_device->end(&channel);
        ++rounds;
    }
    hostile_say("%u channels", rounds);
}

/* A record fills so many lines with its payload */
#define HOSTILE_PAYLOAD_LINES 16u
#define HOSTILE_PAYLOAD_WORDS (HOSTILE_PAYLOAD_LINES * XSHM_ABI_LINE_SIZE / 4)
#define HOSTILE_PAYLOAD_SIZE \
    ((HOSTILE_PAYLOAD_LINES * XSHM_ABI_LINE_SIZE) - \
     (uint32_t)sizeof(xshm_abi_record_t))
#define HOSTILE_HEADER_WORDS 2u
#define HOSTILE_NUM_PAYLOADS 100u

typedef struct {
    volatile uint32_t *ring;
    volatile int       is_done;
} hostile_changer_t;

/* All payloads change all the time, and no header does */
static void *hostile_changer_main(void *arg)
{
    hostile_changer_t *changer = arg;
    uint32_t           i       = 0;

    while (!changer->is_done) {
        if ((i % HOSTILE_PAYLOAD_WORDS) >= HOSTILE_HEADER_WORDS) {
            ++changer->ring[i];
        }
        i = (i + 1) % (XSHM_ABI_RING_MIN_SIZE / sizeof(*changer->ring));
    }
    return NULL;
}

static void hostile_send_payload(hostile_channel_t *channel, unsigned index)
{
    double   deadline = hostile_now() + HOSTILE_PATIENCE;
    unsigned line     = index * HOSTILE_PAYLOAD_LINES;

    hostile_publish(channel, line % HOSTILE_NUM_LINES,
                    hostile_header(XSHM_RECORD_AM, HOSTILE_TWICE_ID,
                                   HOSTILE_PAYLOAD_SIZE,
                                   1 + (line / HOSTILE_NUM_LINES)));
    while (__atomic_load_n(&channel->ret->consumed, __ATOMIC_ACQUIRE) <= line) {
        if (hostile_now() > deadline) {
            hostile_fail("the victim has read %u messages only", index);
        }
        sched_yield();
    }
}

/* The victim's handler reads each message twice (uct_agent_watch.c) */
static void hostile_moving_payload(const hostile_address_t *victim)
{
    hostile_channel_t channel;
    hostile_changer_t changer = {.is_done = 0};
    pthread_t         thread;
    unsigned          i;

    hostile_alloc(&channel, victim);
    channel.data->max_payload = HOSTILE_PAYLOAD_SIZE;
    hostile_expect_answer(&channel, victim, HOSTILE_ACCEPTED);
    changer.ring = (volatile uint32_t *)hostile_line(&channel, 0);
    hostile_check(pthread_create(&thread, NULL, hostile_changer_main,
                                 &changer) == 0,
                  "pthread_create");
    for (i = 0; i < HOSTILE_NUM_PAYLOADS; ++i) {
        hostile_send_payload(&channel, i);
    }
    changer.is_done = 1;
    pthread_join(thread, NULL);
    hostile_device->end(&channel);
    hostile_say("%u messages", i);
}

/* All lines at random, all the time: laps, ids and lengths that may be right, but
 * not the id whose messages the victim checks (uct_agent.c) */
static void hostile_random_lines(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_SECONDS;
    unsigned          rounds   = 0, i;
    hostile_channel_t channel;

    while ((rounds < 5) || (hostile_now() < deadline)) {
        hostile_open(&channel, victim);
        for (i = 0; !hostile_device->is_ended(&channel) && (i < 100000); ++i) {
            hostile_publish(&channel, i % HOSTILE_NUM_LINES,
                            (hostile_random() & 0x000003070000003full) |
                                    ((1 + (hostile_random() % 3)) << 48));
        }
        hostile_device->end(&channel);
        ++rounds;
    }
    hostile_say("%u channels", rounds);
}

/* One word of the first line is wrong */
static void hostile_bad_layout(const hostile_address_t *victim, size_t offset,
                               uint32_t value)
{
    hostile_channel_t channel;

    hostile_alloc(&channel, victim);
    *(uint32_t *)((uint8_t *)channel.data + offset) = value;
    hostile_expect_answer(&channel, victim, HOSTILE_INVALID);
}

static void hostile_layout(const hostile_address_t *victim)
{
    static const uint32_t values[] = {0,    1,         63,        2048,
                                      4097, INT32_MAX, UINT32_MAX};
    unsigned              i;

    for (i = 0; i < HOSTILE_ARRAY_SIZE(values); ++i) {
        hostile_bad_layout(victim, offsetof(xshm_abi_data_t, magic), values[i]);
        hostile_bad_layout(victim, offsetof(xshm_abi_data_t, ring_size),
                           values[i]);
        hostile_bad_layout(victim, offsetof(xshm_abi_data_t, num_pages),
                           values[i]);
    }
    hostile_bad_layout(victim, offsetof(xshm_abi_data_t, max_payload), 4096);
    hostile_bad_layout(victim, offsetof(xshm_abi_data_t, version), 77);
    hostile_say("23 requests were refused");
}

typedef struct {
    volatile uint32_t *words;
    unsigned           count;
    volatile int       is_done;
} hostile_writer_t;

static void *hostile_writer_main(void *arg)
{
    hostile_writer_t *writer = arg;

    while (!writer->is_done) {
        writer->words[hostile_random() % writer->count] =
                (uint32_t)hostile_random();
    }
    return NULL;
}

/* sleeps, port, wants, notifies */
static void hostile_wake_lines(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_SECONDS;
    unsigned          line = 0, count = 0;
    hostile_channel_t channel;
    hostile_writer_t  writer = {.count = 4};
    pthread_t         thread;

    hostile_open(&channel, victim);
    writer.words = (volatile uint32_t *)&channel.data->wake;
    hostile_check(pthread_create(&thread, NULL, hostile_writer_main, &writer) ==
                          0,
                  "pthread_create");
    while (hostile_now() < deadline) {
        hostile_device->attract(&channel);
        hostile_publish(&channel, line,
                        hostile_header(XSHM_RECORD_AM, 0, 8,
                                       1 + (count / HOSTILE_NUM_LINES)));
        line = ++count % HOSTILE_NUM_LINES;
        while (((int32_t)(__atomic_load_n(&channel.ret->consumed,
                                          __ATOMIC_ACQUIRE) +
                          (HOSTILE_NUM_LINES / 2) - count) < 0) &&
               (hostile_now() < deadline)) {
        }
    }
    writer.is_done = 1;
    pthread_join(thread, NULL);
    if (hostile_device->is_ended(&channel)) {
        hostile_fail("the victim has ended the channel");
    }
    hostile_publish(&channel, line, hostile_random() | (0xffull << 32));
    hostile_device->end(&channel);
    hostile_say("%u messages in between", count);
}

/* We live and die, all the time */
static void hostile_live(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_SECONDS;
    unsigned          rounds   = 0;
    hostile_channel_t channel;

    while ((rounds < 3) || (hostile_now() < deadline)) {
        hostile_open(&channel, victim);
        while ((hostile_now() < deadline) &&
               !hostile_device->is_ended(&channel)) {
            channel.data->live ^= 1;
        }
        hostile_device->end(&channel);
        ++rounds;
    }
    hostile_say("%u channels", rounds);
}

static void hostile_wrong_token(const hostile_address_t *victim)
{
    hostile_address_t address = *victim;
    hostile_channel_t channel;
    unsigned          i;

    for (i = 0; i < hostile_device->rounds; ++i) {
        hostile_alloc(&channel, &address);
        address.iface = victim->iface;
        if (i % 4 == 3) {
            address.iface.iface ^= 1u + (uint32_t)(hostile_random() % 1000);
        } else {
            address.iface.token[i % XSHM_ABI_TOKEN_SIZE] ^= 1u << (i % 8);
        }
        hostile_expect_answer(&channel, &address, HOSTILE_UNKNOWN);
    }
    hostile_say("%u requests were refused", i);
}

/* What we have given up may still be there for a while, up to a limit */
static void
hostile_open_again(hostile_channel_t *channel, const hostile_address_t *victim)
{
    double deadline = hostile_now() + HOSTILE_PATIENCE;

    for (;;) {
        hostile_alloc(channel, victim);
        hostile_device->ask(channel, victim);
        if (hostile_device->answer(channel, HOSTILE_PATIENCE) ==
            HOSTILE_ACCEPTED) {
            return;
        }
        hostile_check(hostile_now() < deadline, "no new channel");
        hostile_device->end(channel);
        hostile_sleep_ms(10);
    }
}

/* Asked, and gone at once; memory given up before it is mapped */
static void hostile_half(const hostile_address_t *victim)
{
    hostile_channel_t channel;
    unsigned          i;

    for (i = 0; i < hostile_device->rounds; ++i) {
        hostile_alloc(&channel, victim);
        hostile_device->ask(&channel, victim);
        if (i % 2) {
            hostile_sleep_ms((unsigned)(hostile_random() % 3));
        }
        hostile_device->end(&channel);
    }
    if (hostile_is_stranger) {
        hostile_knock(victim);
    } else {
        hostile_open_again(&channel, victim);
        hostile_device->end(&channel);
    }
    hostile_say("%u half set-ups, and a whole request", i);
}

static size_t hostile_parse_hex(const char *text, uint8_t *bytes, size_t max)
{
    unsigned value;
    size_t   length = 0;

    while ((length < max) && (sscanf(text, "%2x", &value) == 1)) {
        bytes[length++] = (uint8_t)value;
        text += 2;
    }
    return length;
}

/* A record that accesses memory, and room in the ring for it */
static void hostile_rma_record(hostile_channel_t *channel, unsigned *line,
                               unsigned type, unsigned id,
                               const xshm_abi_rma_t *rma, uint32_t size)
{
    memset(hostile_line(channel, *line) + 8, 0, XSHM_ABI_LINE_SIZE - 8);
    memcpy(hostile_line(channel, *line) + 8, rma, sizeof(*rma));
    hostile_publish(channel, *line, hostile_header(type, id, size, 1));
    ++*line;
}

/* Each field of a right PUT, changed */
static void hostile_rma_puts(hostile_channel_t *channel, unsigned *line,
                             const xshm_abi_key_t *key,
                             const xshm_abi_rma_t *good)
{
    xshm_abi_rma_t wrong[12];
    unsigned       i;

    for (i = 0; i < HOSTILE_ARRAY_SIZE(wrong); ++i) {
        wrong[i] = *good;
    }

    wrong[0].id ^= 1;
    wrong[1].id = 0;
    wrong[2].slot += 1;
    wrong[3].slot = UINT32_MAX;
    wrong[4].slot += 1u << 20;
    wrong[5].address -= 1;
    wrong[6].address += key->length - 7;
    wrong[7].address = UINT64_MAX - 3;
    wrong[8].address = 0;
    wrong[9].length  = UINT32_MAX;
    wrong[10].length = 40;
    wrong[11].reply  = 0;
    for (i = 0; i < HOSTILE_ARRAY_SIZE(wrong); ++i) {
        hostile_rma_record(channel, line, XSHM_RECORD_PUT, 0, &wrong[i],
                           sizeof(wrong[i]) + 8);
    }
    /* Too short to be one */
    hostile_rma_record(channel, line, XSHM_RECORD_PUT, 0, good, 8);
}

/* Places in the reply room, and lengths, that there are not */
static void hostile_rma_gets(hostile_channel_t *channel, unsigned *line,
                             const xshm_abi_rma_t *good)
{
    static const struct {
        uint32_t reply, length;
    } wrong[]          = {{XSHM_ABI_REPLY_SIZE, 8},
                          {4, 8},
                          {UINT32_MAX - 7, 8},
                          {0, XSHM_ABI_REPLY_SIZE + 1},
                          {0, UINT32_MAX}};
    xshm_abi_rma_t rma = *good;
    unsigned       i;

    for (i = 0; i < HOSTILE_ARRAY_SIZE(wrong); ++i) {
        rma.reply  = wrong[i].reply;
        rma.length = wrong[i].length;
        hostile_rma_record(channel, line, XSHM_RECORD_GET, 0, &rma,
                           sizeof(rma));
    }
}

/* Lengths, places, operations and sizes of a record that there are not */
static void hostile_rma_atomics(hostile_channel_t *channel, unsigned *line,
                                const xshm_abi_rma_t *good)
{
    static const struct {
        uint32_t length, offset;
        unsigned op;
        uint32_t operands;
    } wrong[] = {{0, 0, XSHM_ATOMIC_ADD, 16},
                 {3, 0, XSHM_ATOMIC_ADD, 16},
                 {8, 4, XSHM_ATOMIC_ADD, 16},
                 {8, 0, XSHM_ATOMIC_LAST, 16},
                 {8, 0, XSHM_ATOMIC_ADD, 8}};
    xshm_abi_rma_t rma;
    unsigned       i;

    for (i = 0; i < HOSTILE_ARRAY_SIZE(wrong); ++i) {
        rma        = *good;
        rma.length = wrong[i].length;
        rma.address += wrong[i].offset;
        hostile_rma_record(channel, line, XSHM_RECORD_ATOMIC, wrong[i].op, &rma,
                           (uint32_t)sizeof(rma) + wrong[i].operands);
    }
}

/* Operations that are wrong in one thing each. @return How many were sent. */
static unsigned
hostile_rma_fields(hostile_channel_t *channel, const xshm_abi_key_t *key)
{
    const xshm_abi_rma_t good = {.id      = key->id,
                                 .address = key->base,
                                 .slot    = key->slot,
                                 .length  = 8,
                                 .reply   = XSHM_ABI_NO_REPLY};
    unsigned             line = 0;

    hostile_rma_puts(channel, &line, key, &good);
    hostile_rma_gets(channel, &line, &good);
    hostile_rma_atomics(channel, &line, &good);
    return line;
}

/* With a key of the victim's that was given out: nothing but what it allows */
static void hostile_rma(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_PATIENCE;
    hostile_channel_t channel;
    xshm_abi_key_t    key;
    uint32_t          refused;
    unsigned          sent;

    hostile_check((hostile_argument != NULL) &&
                          (hostile_parse_hex(hostile_argument, (uint8_t *)&key,
                                             sizeof(key)) == sizeof(key)),
                  "no key");
    hostile_open(&channel, victim);
    sent = hostile_rma_fields(&channel, &key);
    do {
        refused = __atomic_load_n(&channel.ret->refused, __ATOMIC_ACQUIRE);
    } while ((refused < sent) && (hostile_now() < deadline));
    hostile_device->end(&channel);
    if (refused != sent) {
        hostile_fail("of %u wrong operations %u were refused", sent, refused);
    }
    hostile_say("%u operations were refused", refused);
}

/* What a rightful peer may do, to see that the key is one */
static void hostile_rma_right(const hostile_address_t *victim)
{
    double            deadline = hostile_now() + HOSTILE_PATIENCE;
    unsigned          line     = 0;
    hostile_channel_t channel;
    xshm_abi_key_t    key;
    xshm_abi_rma_t    rma = {.length = 8};

    hostile_check((hostile_argument != NULL) &&
                          (hostile_parse_hex(hostile_argument, (uint8_t *)&key,
                                             sizeof(key)) == sizeof(key)),
                  "no key");
    hostile_open(&channel, victim);
    rma.id      = key.id;
    rma.slot    = key.slot;
    rma.address = key.base + key.length - rma.length;
    hostile_rma_record(&channel, &line, XSHM_RECORD_GET, 0, &rma, sizeof(rma));
    while ((__atomic_load_n(&channel.ret->consumed, __ATOMIC_ACQUIRE) == 0) &&
           (hostile_now() < deadline)) {
    }
    hostile_say("refused %u",
                __atomic_load_n(&channel.ret->refused, __ATOMIC_ACQUIRE));
    hostile_device->end(&channel);
}

static const hostile_attack_t hostile_attacks[] = {
        {"types", hostile_types},
        {"lengths", hostile_lengths},
        {"ids", hostile_ids},
        {"wrap-at-start", hostile_wrap_at_start},
        {"wrap-loop", hostile_wrap_loop},
        {"skip-loop", hostile_skip_loop},
        {"close-size", hostile_close_size},
        {"turn", hostile_turn},
        {"units", hostile_units},
        {"moving-headers", hostile_moving_headers},
        {"moving-payload", hostile_moving_payload},
        {"random-lines", hostile_random_lines},
        {"layout", hostile_layout},
        {"wake-lines", hostile_wake_lines},
        {"live", hostile_live},
        {"wrong-token", hostile_wrong_token},
        {"half", hostile_half},
        {"rma", hostile_rma},
        {"rma-right", hostile_rma_right},
        {NULL, NULL}};


/* The victim's message to us: a header, which is the seed of what follows */
#define HOSTILE_MEANT_SIZE 108u
#define HOSTILE_SEED_SIZE  8u
/* It, the channel's end, and what leads to another line before either */
#define HOSTILE_MEANT_MAX 4u

/* Bytes of the ring */
typedef struct {
    size_t begin;
    size_t end;
} hostile_range_t;

static size_t hostile_num_lines(const hostile_channel_t *channel)
{
    return (channel->data_size - XSHM_ABI_RING_OFFSET) / XSHM_ABI_LINE_SIZE;
}

static xshm_abi_record_t
hostile_load(const hostile_channel_t *channel, size_t line)
{
    xshm_abi_record_t record;

    record.word =
            __atomic_load_n((const uint64_t *)((const char *)channel->data +
                                               XSHM_ABI_RING_OFFSET +
                                               (line * XSHM_ABI_LINE_SIZE)),
                            __ATOMIC_ACQUIRE);
    return record;
}

/* What the victim sends by a channel comes before its end */
static void hostile_await_message(const hostile_channel_t *channel)
{
    double deadline = hostile_now() + HOSTILE_PATIENCE;

    if (channel->data->first_line >= hostile_num_lines(channel)) {
        hostile_fail("the first line is %u", channel->data->first_line);
    }
    while (hostile_load(channel, channel->data->first_line).word == 0) {
        if (hostile_now() > deadline) {
            hostile_fail("the victim has sent nothing");
        }
    }
}

/* @return How many records there are, the end included */
static unsigned
hostile_find_meant(const hostile_channel_t *channel, hostile_range_t *ranges)
{
    size_t            line = channel->data->first_line;
    unsigned          i;
    xshm_abi_record_t record;

    for (i = 0; i < HOSTILE_MEANT_MAX; ++i) {
        record = hostile_load(channel, line);
        if (record.word == 0) {
            break;
        }
        if (record.size !=
            ((record.type == XSHM_RECORD_AM) ? HOSTILE_MEANT_SIZE : 0)) {
            hostile_fail("a record of type %u has %u bytes", record.type,
                         record.size);
        }
        ranges[i].begin = line * XSHM_ABI_LINE_SIZE;
        ranges[i].end   = ranges[i].begin + sizeof(record) + record.size;
        line            = (record.type == XSHM_RECORD_WRAP) ?
                                  0 :
                                  (line + 1 +
                        ((record.size + sizeof(record) - 1) /
                         XSHM_ABI_LINE_SIZE)) %
                               hostile_num_lines(channel);
    }
    return i;
}

/* As uct_agent fills it */
static void hostile_check_message(const uint8_t *payload)
{
    uint64_t seed, value;
    size_t   i;

    memcpy(&seed, payload, sizeof(seed));
    for (i = HOSTILE_SEED_SIZE; i < HOSTILE_MEANT_SIZE; ++i) {
        seed += 0x9e3779b97f4a7c15ull;
        value = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9ull;
        if (payload[i] != (uint8_t)(value ^ (value >> 30))) {
            hostile_fail("byte %zu of the message is wrong", i);
        }
    }
}

static void hostile_check_zero_range(const uint8_t *bytes, size_t begin,
                                     size_t end, const char *what)
{
    size_t i;

    for (i = begin; i < end; ++i) {
        if (bytes[i] != 0) {
            hostile_fail("byte %zu of the %s is 0x%02x", i, what, bytes[i]);
        }
    }
}

/* The first page: what it must have, as docs/abi.md says, and no more */
static void
hostile_check_head(const hostile_channel_t *channel, const uint8_t *bytes)
{
    const xshm_abi_data_t *data = (const xshm_abi_data_t *)bytes;
    const size_t           used = offsetof(xshm_abi_wake_t, unused);
    const size_t           num_refs =
            (hostile_device->has_refs) ? data->num_pages - 1 : 0;

    hostile_check((data->magic == XSHM_ABI_MAGIC) &&
                          (data->version == XSHM_ABI_VERSION) &&
                          (data->ring_size ==
                           channel->data_size - XSHM_ABI_RING_OFFSET) &&
                          (data->num_pages ==
                           channel->data_size / XSHM_ABI_PAGE_SIZE) &&
                          ((data->return_ref != 0) == hostile_device->has_refs),
                  "the layout");
    hostile_check_zero_range(bytes, offsetof(xshm_abi_data_t, unused0),
                             offsetof(xshm_abi_data_t, wake), "first page");
    hostile_check_zero_range(bytes, offsetof(xshm_abi_data_t, wake) + used,
                             offsetof(xshm_abi_data_t, live), "first page");
    hostile_check_zero_range(bytes, offsetof(xshm_abi_data_t, unused2),
                             sizeof(*data), "first page");
    hostile_check_zero_range(bytes,
                             XSHM_ABI_PAGE_REF_OFFSET +
                                     (num_refs * sizeof(uint32_t)),
                             XSHM_ABI_RING_OFFSET, "first page");
}

/* As it was before, and what the victim has written since: only what stands in
 * these ranges */
static void hostile_check_ring(hostile_channel_t *channel, uint8_t *ring)
{
    hostile_range_t ranges[HOSTILE_MEANT_MAX];
    unsigned        count = hostile_find_meant(channel, ranges), i;

    for (i = 0; i < count; ++i) {
        if (ranges[i].end - ranges[i].begin > HOSTILE_MEANT_SIZE) {
            hostile_check_message(ring + ranges[i].begin +
                                  sizeof(xshm_abi_record_t));
        }
        memset(ring + ranges[i].begin, 0, ranges[i].end - ranges[i].begin);
    }
    hostile_check_zero_range(ring, 0, channel->data_size - XSHM_ABI_RING_OFFSET,
                             "ring");
}

/* What only the receiver writes, we have written */
static void hostile_check_return(const hostile_channel_t *channel)
{
    const uint8_t *bytes = (const uint8_t *)channel->ret;

    hostile_check_zero_range(bytes, 0, offsetof(xshm_abi_return_t, live),
                             "return page");
    hostile_check_zero_range(bytes, offsetof(xshm_abi_return_t, unused2),
                             XSHM_ABI_RETURN_SIZE, "return page");
}

/* Nothing but what was meant for us stands in pages that were just given */
static void hostile_check_zero(hostile_channel_t *channel)
{
    uint8_t *copy = malloc(channel->data_size);

    hostile_check(copy != NULL, "memory");
    hostile_await_message(channel);
    memcpy(copy, channel->data, channel->data_size);
    hostile_check_head(channel, copy);
    hostile_check_ring(channel, copy + XSHM_ABI_RING_OFFSET);
    hostile_check_return(channel);
    free(copy);
}

static void hostile_keep(const hostile_channel_t *channel)
{
    hostile_check(hostile_num_kept < HOSTILE_MAX_KEPT, "too many to keep");
    hostile_kept[hostile_num_kept].bytes  = (const uint8_t *)channel->data;
    hostile_kept[hostile_num_kept++].size = channel->data_size;
}

static void hostile_run_ahead(hostile_channel_t *channel)
{
    __atomic_store_n(&channel->ret->consumed, 0x40000000u, __ATOMIC_RELEASE);
}

static void hostile_run_backwards(hostile_channel_t *channel)
{
    __atomic_store_n(&channel->ret->consumed, UINT32_MAX, __ATOMIC_RELEASE);
}

static void hostile_write_all(hostile_channel_t *channel)
{
    double             deadline = hostile_now() + HOSTILE_SECONDS;
    volatile uint32_t *words    = (volatile uint32_t *)channel->ret;

    while (hostile_now() < deadline) {
        words[hostile_random() % (XSHM_ABI_RETURN_SIZE / sizeof(*words))] =
                (uint32_t)hostile_random();
    }
    hostile_run_ahead(channel);
}

/* It says that it has unmapped all, and has not */
static void hostile_lie(hostile_channel_t *channel)
{
    hostile_check_zero(channel);
    channel->ret->live = 0;
    hostile_keep(channel);
}

static void hostile_seem_to_end(hostile_channel_t *channel)
{
    hostile_check(hostile_device->seem_to_end != NULL, "not on this device");
    hostile_keep(channel);
    hostile_device->seem_to_end();
}

static void hostile_nothing(hostile_channel_t *channel)
{
    (void)channel;
}

/* What is done with the victim's channel to us once it was accepted */
static const struct {
    const char *name;
    void (*run)(hostile_channel_t *channel);
    int is_lazy;
} hostile_receipts[] = {{"ahead", hostile_run_ahead, 0},
                        {"backwards", hostile_run_backwards, 0},
                        {"write-all", hostile_write_all, 0},
                        {"never-read", hostile_nothing, 0},
                        {"keep-open", hostile_nothing, 1},
                        {"look", hostile_check_zero, 0},
                        {"lie", hostile_lie, 0},
                        {"seem-to-end", hostile_seem_to_end, 0},
                        {NULL, NULL, 0}};

static void hostile_receive(const char *name, unsigned count)
{
    hostile_channel_t channel;
    unsigned          i, j;

    for (i = 0; (hostile_receipts[i].name != NULL) &&
                strcmp(hostile_receipts[i].name, name);
         ++i) {
    }
    hostile_check(hostile_receipts[i].name != NULL, "no such receipt");

    hostile_is_lazy = hostile_receipts[i].is_lazy;
    for (j = 0; j < count; ++j) {
        memset(&channel, 0, sizeof(channel));
        if (!hostile_device->offered(&channel, HOSTILE_PATIENCE)) {
            hostile_fail("the victim has offered %u channels", j);
        }
        hostile_device->accept(&channel);
        hostile_receipts[i].run(&channel);
    }
    hostile_say("%u channels", count);
}

static void hostile_look(const char *hex)
{
    unsigned found = 0, i;
    uint8_t  bytes[64];
    size_t   length = hostile_parse_hex(hex, bytes, sizeof(bytes));

    for (i = 0; i < hostile_num_kept; ++i) {
        found += memmem(hostile_kept[i].bytes, hostile_kept[i].size, bytes,
                        length) != NULL;
    }
    hostile_say("%u of %u", found, hostile_num_kept);
}

static void hostile_parse_address(const char *text, hostile_address_t *address)
{
    const char *colon = strchr(text, ':');

    hostile_check(colon != NULL, "this is no address");
    address->device_length = hostile_parse_hex(text, address->device,
                                               (size_t)(colon - text) / 2);
    hostile_check(hostile_parse_hex(colon + 1, (uint8_t *)&address->iface,
                                    sizeof(address->iface)) ==
                          sizeof(address->iface),
                  "this is no address");
}

static void hostile_print_hex(const void *bytes, size_t length)
{
    size_t i;

    for (i = 0; i < length; ++i) {
        printf("%02x", ((const uint8_t *)bytes)[i]);
    }
}

/* With the device's part of somebody else's address on this machine */
static void hostile_listen(char *arguments)
{
    const char       *device = strsep(&arguments, " ");
    hostile_address_t victim;
    unsigned          i;

    hostile_check(arguments != NULL, "no victim");
    hostile_parse_address(arguments, &victim);
    hostile_own.device_length = hostile_parse_hex(device, hostile_own.device,
                                                  strcspn(device, ":") / 2);
    hostile_own.iface.version = XSHM_ABI_VERSION;
    hostile_own.iface.process = ((uint64_t)getpid() << 32) ^ 0x5a5a1234u;
    for (i = 0; i < XSHM_ABI_TOKEN_SIZE; ++i) {
        hostile_own.iface.token[i] = (uint8_t)hostile_random();
    }
    hostile_device->listen(&hostile_own, &victim);
    printf("ok ");
    hostile_print_hex(hostile_own.device, hostile_own.device_length);
    printf(":");
    hostile_print_hex(&hostile_own.iface, sizeof(hostile_own.iface));
    printf("\n");
}

static const hostile_attack_t *
hostile_find(const hostile_attack_t *attacks, const char *name)
{
    for (; attacks->name != NULL; ++attacks) {
        if (!strcmp(attacks->name, name)) {
            return attacks;
        }
    }
    return NULL;
}

static const hostile_attack_t *hostile_device_attacks(void)
{
#ifdef HAVE_XEN
    if (hostile_device == &hostile_xen) {
        return hostile_xen_attacks;
    }
#endif
    return hostile_local_attacks;
}

static void hostile_attack(char *arguments)
{
    const char             *name    = strsep(&arguments, " ");
    const char             *address = strsep(&arguments, " ");
    const hostile_attack_t *attack  = hostile_find(hostile_attacks, name);
    hostile_address_t       victim;

    if (attack == NULL) {
        attack = hostile_find(hostile_device_attacks(), name);
    }
    hostile_check((attack != NULL) && (address != NULL), "no such attack");
    hostile_parse_address(address, &victim);
    hostile_argument = arguments;
    attack->run(&victim);
}

static void hostile_shell(const char *command)
{
    FILE *pipe = popen(command, "r");
    int   c;

    hostile_check(pipe != NULL, "popen");
    printf("ok ");
    while ((c = fgetc(pipe)) != EOF) {
        putchar((c == '\n') ? ' ' : c);
    }
    pclose(pipe);
    printf("\n");
}

static void hostile_run(char *line)
{
    const char *command = strsep(&line, " ");
    const char *name;

    hostile_check(line != NULL, "no arguments");
    hostile_is_stranger = !strcmp(command, "stranger");
    if (hostile_is_stranger || !strcmp(command, "attack")) {
        hostile_attack(line);
    } else if (!strcmp(command, "listen")) {
        hostile_listen(line);
    } else if (!strcmp(command, "receive")) {
        name = strsep(&line, " ");
        hostile_receive(name, (unsigned)atoi((line == NULL) ? "1" : line));
    } else if (!strcmp(command, "look")) {
        hostile_look(line);
    } else if (!strcmp(command, "shell")) {
        hostile_shell(line);
    } else {
        hostile_fail("there is no command \"%s\"", command);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[HOSTILE_LINE_MAX];

    if ((argc != 3) || strcmp(argv[1], "-d")) {
        fprintf(stderr, "usage: hostile -d DEVICE\n");
        return EXIT_FAILURE;
    }
#ifdef HAVE_XEN
    if (!strcmp(argv[2], "xen")) {
        hostile_device = &hostile_xen;
    }
#endif
    hostile_device->start();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        hostile_run(line);
    }
    return EXIT_SUCCESS;
}
