/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_SLEEP_H_
#define XSHM_SLEEP_H_

#include <xshm/xshm_abi.h>

/**
 * Sleeping and waking up, on either end of a ring: the consumer sleeps until
 * there is a record, the producer until there is room. Of each ring, one side
 * is here the *sleeper* and the other the *waker*; "news" is what the waker
 * stores and the sleeper waits for: a record's header or the turn line's head,
 * or the count of consumed lines.
 *
 * Each side writes its own line (xshm_abi_wake_t) only. `sleeps` is odd while
 * its owner sleeps. The waker keeps the last odd value that it has served, and
 * notifies once for each new one: so a value of the other's choice costs no
 * more than a notification for each piece of news.
 *
 * The sleeper:                          The waker:
 *
 *     drain old notifications               PUBLISH, PASS, GIVE_BACK: the news
 *     SLEEP       sleeps becomes odd        IS_HOOKED   no: done
 *     BEFORE_LOOK full fence                AFTER_NEWS  full fence
 *     ACKED       load-acquire: am I        IS_ASLEEP   load of sleeps:
 *                 served? else: do not                  odd and new: notify
 *                 sleep for long
 *     LOOK_AGAIN  at the news
 *
 * BEFORE_LOOK pairs with AFTER_NEWS: either LOOK_AGAIN finds the news, or
 * IS_ASLEEP finds the sleeper asleep. AFTER_NEWS is paid only by a waker with a
 * hook, that is when the sleeper has asked for it. For that, the waker's
 * service thread does:
 *
 *     HOOK        store of the hook
 *     ALL_THREADS a full fence in each thread of this process (membarrier)
 *     ACK         store of notifies
 *
 * News without a look at the hook came before ALL_THREADS, so it is there for a
 * LOOK_AGAIN after ACKED; all later news is followed by AFTER_NEWS. ACKED pairs
 * with ACK.
 *
 * test/model/sleep.pml is the model of this, with these labels, for processors
 * with store buffers (x86) and for those that reorder (Arm). It shows that no
 * wake-up is lost, and that one is when any of BEFORE_LOOK, AFTER_NEWS,
 * ALL_THREADS and ACKED is left out.
 *
 * Threads: the ring's side's, but for what is marked as the service's.
 */

/** One end of a ring as a sleeper and as a waker, in private memory */
typedef struct xshm_sleep {
    xshm_abi_wake_t       *own;    /**< This side's line */
    const xshm_abi_wake_t *peer;   /**< The other side's, at most readable */
    uint32_t               sleeps; /**< As in own */
    uint32_t               seen;   /**< The peer's, when last looked at */
    uint32_t               served; /**< The peer's, when last notified */
    uint32_t               wants;  /**< As in own */
} xshm_sleep_t;


static inline void xshm_sleep_init(xshm_sleep_t *sleep, xshm_abi_wake_t *own,
                                   const xshm_abi_wake_t *peer)
{
    sleep->own    = own;
    sleep->peer   = peer;
    sleep->sleeps = 0;
    sleep->seen   = 0;
    sleep->served = 0;
    sleep->wants  = 0;
}

static inline int xshm_sleep_is_odd(uint32_t sleeps)
{
    return (sleeps & 1u) != 0;
}

/** Say that this side sleeps. xshm_sleep_fence() and a look must follow. */
static inline void xshm_sleep_begin(xshm_sleep_t *sleep)
{
    /* A new value each time: the last one may have been served already */
    sleep->sleeps = (sleep->sleeps + 1) | 1u;
    /* SLEEP: ordered by BEFORE_LOOK, which follows */
    __atomic_store_n(&sleep->own->sleeps, sleep->sleeps, __ATOMIC_RELAXED);
}

/** Between saying that one sleeps, on any number of rings, and looking again */
static inline void xshm_sleep_fence(void)
{
    /* BEFORE_LOOK: pairs with AFTER_NEWS */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/** Say that this side does not sleep any more. A notification may still
 *  come. */
static inline void xshm_sleep_end(xshm_sleep_t *sleep)
{
    if (xshm_sleep_is_odd(sleep->sleeps)) {
        __atomic_store_n(&sleep->own->sleeps, ++sleep->sleeps,
                         __ATOMIC_RELAXED);
    }
}

/** Has the waker acknowledged that this side wants to be woken? If not, news
 *  may come without a notification. */
static inline int xshm_sleep_is_acked(const xshm_sleep_t *sleep)
{
    /* ACKED: pairs with ACK */
    return (sleep->wants != 0) &&
           (__atomic_load_n(&sleep->peer->notifies, __ATOMIC_ACQUIRE) ==
            sleep->wants);
}

/** After news: does the other side sleep, and was not yet notified? */
static inline int xshm_sleep_must_notify(xshm_sleep_t *sleep)
{
    /* AFTER_NEWS: pairs with BEFORE_LOOK */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* IS_ASLEEP */
    sleep->seen = __atomic_load_n(&sleep->peer->sleeps, __ATOMIC_RELAXED);
    return xshm_sleep_is_odd(sleep->seen) && (sleep->seen != sleep->served);
}

/** It is being notified, for the time that it sleeps now */
static inline void xshm_sleep_serve(xshm_sleep_t *sleep)
{
    sleep->served = sleep->seen;
}

/** Say that this side wants to be woken from now on, or no more. The other side
 *  must then be told to look. */
static inline void xshm_sleep_want(xshm_sleep_t *sleep, uint32_t wants)
{
    sleep->wants = wants;
    __atomic_store_n(&sleep->own->wants, wants, __ATOMIC_RELEASE);
}

/** What the other side wants, read once (service thread) */
static inline uint32_t xshm_sleep_peer_wants(const xshm_sleep_t *sleep)
{
    return __atomic_load_n(&sleep->peer->wants, __ATOMIC_ACQUIRE);
}

/** Acknowledge it (service thread) */
static inline void xshm_sleep_ack(xshm_sleep_t *sleep, uint32_t wants)
{
    /* ACK: pairs with ACKED; ordered by ALL_THREADS, which comes before */
    __atomic_store_n(&sleep->own->notifies, wants, __ATOMIC_RELEASE);
}

#endif
