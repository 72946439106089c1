/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A peer that keeps to no rule: it speaks the published protocols (docs/abi.md,
 * xshm/xshm_abi.h) by code of its own, and shares none with xshm.
 */

#ifndef XSHM_HOSTILE_H_
#define XSHM_HOSTILE_H_

#include <xshm/xshm_abi.h>

#include <stddef.h>
#include <stdint.h>

#define HOSTILE_NAME_MAX   20
#define HOSTILE_DEVICE_MAX 64
#define HOSTILE_PATIENCE   20.0 /* Seconds; far above what is needed */

#define HOSTILE_ARRAY_SIZE(_array) (sizeof(_array) / sizeof((_array)[0]))


/* What a refusal says */
enum {
    HOSTILE_NO_ANSWER = -1,
    HOSTILE_ACCEPTED  = 0,
    HOSTILE_VERSION   = 1,
    HOSTILE_UNKNOWN   = 2, /* No such interface, or a wrong token */
    HOSTILE_INVALID   = 3,
    HOSTILE_RESOURCE  = 4,
    HOSTILE_GONE      = 5
};

/** An interface's address */
typedef struct {
    uint8_t  version;
    uint64_t process;
    uint32_t iface;
    uint8_t  token[XSHM_ABI_TOKEN_SIZE];
} __attribute__((packed)) hostile_iface_t;

typedef struct {
    uint8_t         device[HOSTILE_DEVICE_MAX];
    size_t          device_length;
    hostile_iface_t iface;
} hostile_address_t;

/** A channel, of which we are the sender, or that the victim sends by */
typedef struct {
    xshm_abi_data_t   *data;
    xshm_abi_return_t *ret;
    size_t             data_size;
    uint32_t           number;
    int                is_sender;
    int                fd;         /* local: the socket */
    int                fds[2];     /* local: data, return */
    uint64_t           data_index; /* xen: of gntalloc, or mappings */
    uint64_t           return_index;
    uint32_t           gref;
    uint32_t           domid;
    char               name[HOSTILE_NAME_MAX];
} hostile_channel_t;

/** What differs between the devices */
typedef struct {
    const char *name;
    unsigned    rounds; /**< Of a flood, each of which waits for the victim's
                             answer */

    int has_refs; /**< Pages have references, which the first one names */

    void (*start)(void);

    /** Memory for a channel to the victim, filled as it must be */
    void (*alloc)(hostile_channel_t *channel, const hostile_address_t *victim,
                  size_t ring_size);

    /** Ask the victim to map it */
    void (*ask)(hostile_channel_t *channel, const hostile_address_t *victim);

    /** @return HOSTILE_xx */
    int (*answer)(hostile_channel_t *channel, double seconds);

    /** Has the victim given it up? */
    int (*is_ended)(hostile_channel_t *channel);

    /** Give it up ourselves, and free all */
    void (*end)(hostile_channel_t *channel);

    /** Attract attention to our line for waking up, as often as it can be */
    void (*attract)(hostile_channel_t *channel);

    /** Be somebody that the victim can connect to: fills our address but for
     *  the device's part */
    void (*listen)(hostile_address_t *own, const hostile_address_t *victim);

    /** Wait for the victim's channel to us, and map it writable if possible.
     *  Does not accept it yet. @return Zero: none came. */
    int (*offered)(hostile_channel_t *channel, double seconds);

    void (*accept)(hostile_channel_t *channel);

    /** Look to the victim as if this machine had ended, for a moment; NULL: it
     *  cannot */
    void (*seem_to_end)(void);
} hostile_device_t;

/** One attack that only one device knows */
typedef struct {
    const char *name;
    void (*run)(const hostile_address_t *victim);
} hostile_attack_t;

extern const hostile_device_t hostile_local;
extern const hostile_attack_t hostile_local_attacks[];
extern const hostile_device_t hostile_xen;
extern const hostile_attack_t hostile_xen_attacks[];

/** What follows the address in the command, or NULL */
extern const char *hostile_argument;

/** What the victim offers is not mapped, but for its first and its last page: it
 *  cannot tell */
extern int hostile_is_lazy;

/** We know no token of the victim's: nothing that it accepts is asked for */
extern int hostile_is_stranger;

/** The device in use */
extern const hostile_device_t *hostile_device;

/** The attack did not reach the victim as it should: answer "error ...", and
 *  end the program */
void hostile_fail(const char *fmt, ...)
        __attribute__((noreturn, format(printf, 1, 2)));

#define hostile_check(_condition, _what) \
    do { \
        if (!(_condition)) { \
            hostile_fail("%s: %s (%m)", __func__, _what); \
        } \
    } while (0)

/** Answer "ok ..." */
void hostile_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

double   hostile_now(void);
uint64_t hostile_random(void);
void     hostile_sleep_ms(unsigned milliseconds);

/** Fill the first line of the data pages as it must be */
void hostile_fill_layout(hostile_channel_t *channel);

/** A channel that the victim has accepted */
void hostile_open(hostile_channel_t *channel, const hostile_address_t *victim);

/** See that the victim lives, and has seen what we did before: a right request is
 *  accepted; a stranger's is refused */
void hostile_knock(const hostile_address_t *victim);

/** Wait until the victim has given it up, and free it */
void hostile_expect_end(hostile_channel_t *channel);

/** Ask, expect this answer, and free it */
void hostile_expect_answer(hostile_channel_t       *channel,
                           const hostile_address_t *victim, int wanted);

#endif
