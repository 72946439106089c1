/*
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Sleeping and waking up on a ring, as src/uct/xshm/ring/sleep.h does it, with
 * the same labels. Two threads share a ring with room for one message: thread 0
 * sends MESSAGES, and sleeps while there is no room; thread 1 receives them, and
 * sleeps while there is none. Each is the waker of the other. A service thread
 * in each process begins to serve the other side at any time.
 *
 * A lost wake-up is a sleeper that nobody wakes: spin reports an invalid end
 * state.
 *
 * The processor (one of them is defined):
 *
 *   TSO   x86: stores wait in a buffer, in order, and reach the memory at any
 *         later time. Loads do not wait for them.
 *   WEAK  Arm: what has no barrier between it happens in any order. Stores reach
 *         all processors at once.
 *
 * A processor does not look ahead over an interrupt: membarrier() sees all that
 * a thread did before, and nothing of what it does after.
 *
 * What is taken out of the protocol, to show that it is needed (at most one is
 * defined): NO_BEFORE_LOOK, NO_AFTER_NEWS, NO_ALL_THREADS, NO_ACKED; and, of the
 * order of system calls and of the values: LATE_DRAIN, SAME_VALUE.
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif

/* A direction of news: of messages, of room. The waker has the same number as
 * the direction, and the sleeper the other one. */
#define OF_MESSAGES 0
#define OF_ROOM     1

/* The memory: four words for each direction */
#define NEWS(d)     ((d) * 4)       /* Headers, or lines given back: a count */
#define SLEEPS(d)   ((d) * 4 + 1)
#define HOOK(d)     ((d) * 4 + 2)   /* Of the waker's process */
#define NOTIFIES(d) ((d) * 4 + 3)

byte mem[8];

/* The descriptor by which each thread is woken */
bool readable[2];

/* What the thread has done of its present news, for ALL_THREADS */
bool published[2], looked_at_hook[2], looked_at_sleeps[2];

#define IS_ODD(x) (((x) & 1) == 1)


#ifdef TSO
/* Of the threads 0 and 1, and of their service threads 2 and 3 */
chan buffer[4] = [4] of { byte, byte };

#define STORE(me, where, what) buffer[me]!where, what
#define FENCE(me)              empty(buffer[me])

proctype drain_buffer(byte me)
{
    byte where, what;

end:
    do
    :: atomic { buffer[me]?where, what -> mem[where] = what; where = 0; what = 0 }
    od
}

#define INTERRUPTIBLE(me) true

inline flush(me) {
    do
    :: nempty(buffer[me]) -> buffer[me]?where, what; mem[where] = what
    :: empty(buffer[me])  -> break
    od
}

#else
#define STORE(me, where, what) mem[where] = what
#define FENCE(me)              skip

/* What must have happened before what is behind a barrier */
#ifdef NO_AFTER_NEWS
#define AFTER_NEWS(me) true
#else
#define AFTER_NEWS(me) (published[me] && looked_at_hook[me] && hook)
#endif

#ifdef NO_BEFORE_LOOK
#define BEFORE_LOOK true
#else
#define BEFORE_LOOK did_sleep
#endif

/* ACKED is a load-acquire */
#ifdef NO_ACKED
#define AFTER_ACKED true
#else
#define AFTER_ACKED did_ack
#endif

/* Are the things that it has done the first ones in the program's order? */
#define INTERRUPTIBLE(me) \
    ((!looked_at_hook[me] || published[me]) && \
     (!looked_at_sleeps[me] || (published[me] && looked_at_hook[me])))
#endif


/* Waker: store news, and notify the sleeper if it sleeps */
inline publish(me, count) {
    atomic {
        published[me]        = false;
        looked_at_hook[me]   = false;
        looked_at_sleeps[me] = false;
    };

#ifdef TSO
    STORE(me, NEWS(me), count);                 /* PUBLISH, GIVE_BACK */
    hook = mem[HOOK(me)];                       /* IS_HOOKED */
    if
    :: hook ->
#ifndef NO_AFTER_NEWS
        FENCE(me);                              /* AFTER_NEWS */
#endif
        seen = mem[SLEEPS(me)]                  /* IS_ASLEEP */
    :: else
    fi;
#else
    do
    :: atomic { !published[me] ->
           mem[NEWS(me)] = count;               /* PUBLISH, GIVE_BACK */
           published[me] = true }
    :: atomic { !looked_at_hook[me] ->
           hook = mem[HOOK(me)];                /* IS_HOOKED */
           looked_at_hook[me] = true }
    :: atomic { !looked_at_sleeps[me] && AFTER_NEWS(me) ->
           seen = mem[SLEEPS(me)];              /* IS_ASLEEP */
           looked_at_sleeps[me] = true }
    :: published[me] && looked_at_hook[me] &&
       (looked_at_sleeps[me] || !hook) -> break
    od;
#endif

    if
    :: hook && IS_ODD(seen) && (seen != served) ->
        served = seen;
        readable[1 - me] = true                 /* notify */
    :: else
    fi;
    hook = false;
    seen = 0
}

/* Sleeper: wait until there are more than `count` news. `d` is the direction
 * that they come from. */
inline sleep_until(me, d, count) {
    do
    :: true ->
#ifndef LATE_DRAIN
        readable[me] = false;                   /* Drain */
#endif

#ifdef SAME_VALUE
        sleeps = 1;
#else
        sleeps = (sleeps + 1) | 1;
#endif

#ifdef TSO
        STORE(me, SLEEPS(d), sleeps);           /* SLEEP */
#ifndef NO_BEFORE_LOOK
        FENCE(me);                              /* BEFORE_LOOK */
#endif
        acked = mem[NOTIFIES(d)];               /* ACKED */
        news  = mem[NEWS(d)];                   /* LOOK_AGAIN */
#else
        did_sleep = false;
        did_ack   = false;
        did_look  = false;
        do
        :: atomic { !did_sleep ->
               mem[SLEEPS(d)] = sleeps;         /* SLEEP */
               did_sleep = true }
        :: atomic { !did_ack && BEFORE_LOOK ->
               acked = mem[NOTIFIES(d)];        /* ACKED */
               did_ack = true }
        :: atomic { !did_look && BEFORE_LOOK && AFTER_ACKED ->
               news = mem[NEWS(d)];             /* LOOK_AGAIN */
               did_look = true }
        :: did_sleep && did_ack && did_look -> break
        od;
#endif

#ifdef LATE_DRAIN
        readable[me] = false;
#endif

        if
        :: news > count -> break
        :: news <= count && !acked ->
            /* The timer: as long as nobody serves us, we look by ourselves */
            mem[NOTIFIES(d)] || (mem[NEWS(d)] > count)
        :: news <= count && acked ->
            readable[me]                        /* Sleep */
        fi;

        /* Progress: awake */
        sleeps = sleeps + 1;
        STORE(me, SLEEPS(d), sleeps);
        if
        :: mem[NEWS(d)] > count -> break
        :: else
        fi
    od;
    news  = 0;
    acked = false
}

proctype sender()
{
    byte i, sleeps, served, seen, news;
    bool hook, acked, did_sleep, did_ack, did_look;

    for (i : 1 .. MESSAGES) {
        /* Room: as many lines given back as were taken */
        if
        :: mem[NEWS(OF_ROOM)] + 1 >= i
        :: else -> sleep_until(0, OF_ROOM, i - 2)
        fi;
        publish(0, i)
    }
}

proctype receiver()
{
    byte i, sleeps, served, seen, news;
    bool hook, acked, did_sleep, did_ack, did_look;

    for (i : 1 .. MESSAGES) {
        if
        :: mem[NEWS(OF_MESSAGES)] >= i
        :: else -> sleep_until(1, OF_MESSAGES, i - 1)
        fi;
        publish(1, i)
    }
}

/* Begins to serve the other side's wish to be woken */
proctype service(byte d)
{
#ifdef TSO
    byte where, what;
#endif

    STORE(2 + d, HOOK(d), true);                /* HOOK */
#ifndef NO_ALL_THREADS
    atomic {                                    /* ALL_THREADS */
        INTERRUPTIBLE(d) ->
#ifdef TSO
        flush(2 + d);
        flush(d);
        where = 0;
        what  = 0
#else
        skip
#endif
    };
#endif
    STORE(2 + d, NOTIFIES(d), true)             /* ACK */
}

init {
    atomic {
        run sender();
        run receiver();
        run service(OF_MESSAGES);
        run service(OF_ROOM);
#ifdef TSO
        run drain_buffer(0);
        run drain_buffer(1);
        run drain_buffer(2);
        run drain_buffer(3);
#endif
    }
}
