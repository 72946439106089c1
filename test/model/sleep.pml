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
 * With ASKS, asking is modelled too, as src/uct/xshm/channel/sleeper.c does it: the
 * receiver asks to be woken up to that many times, and leaves in between, through
 * its own service and the sender's. The ring has always room then, and only the
 * receiver sleeps.
 *
 * A lost wake-up is a sleeper that nobody wakes: spin reports an invalid end
 * state. A lost wish is one that the other side has not heard of in the end: spin
 * reports a violated assertion.
 *
 * The processor (one of them is defined):
 *
 *   TSO   x86: stores wait in a buffer, in order, and reach the memory at any
 *         later time. Loads do not wait for them.
 *   WEAK  Arm: what has no barrier between it happens in any order. Stores reach
 *         all processors at once.
 *
 * A processor does not look ahead over an interrupt: membarrier() sees all that
 * a thread did before, and nothing of what it does after. With NO_MEMBARRIER the
 * kernel has none: the hook is there from the start, and ALL_THREADS is a fence
 * of the service's thread.
 *
 * What is taken out of the protocol, to show that it is needed (defined one at a
 * time, where the script does not say otherwise): NO_ and the name of a barrier;
 * and, of the order of steps and of the values:
 *
 *   LATE_DRAIN  old notifications are drained after looking again
 *   SAME_VALUE  each sleep has the same number
 *   LATE_HOOK   the hook is set after ALL_THREADS
 *   EARLY_ACK   the acknowledgement comes before ALL_THREADS
 *   SAME_WISH   who asks again does so with the same number
 *
 * Not here, since no wake-up depends on it: that PUBLISH, PASS and GIVE_BACK are
 * releases (for what a record holds, and for what may be overwritten; in this
 * model they are plain stores), and that HOOK is one.
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif

/* A direction of news: of messages, of room. The waker has the same number as
 * the direction, and the sleeper the other one. */
#define OF_MESSAGES 0
#define OF_ROOM     1

/* The memory: words for each direction */
#define WORDS       7
#define NEWS(d)     ((d) * WORDS)     /* Headers, or lines given back: a count */
#define SLEEPS(d)   ((d) * WORDS + 1)
#define HOOK(d)     ((d) * WORDS + 2) /* Of the waker's process */
#define ATTACHED(d) ((d) * WORDS + 3) /* The same */
#define NOTIFIES(d) ((d) * WORDS + 4)
#define WANTS(d)    ((d) * WORDS + 5)
#define POSTED(d)   ((d) * WORDS + 6) /* Of the sleeper's process */

byte mem[14];

#ifdef ASKS
/* From a sleeper to its service, and from that to the waker's service: with the
 * descriptor that it is to be woken by, or without */
chan work      = [2] of { bit };
chan attention = [2 * ASKS] of { bool };
#endif

/* The descriptor by which each thread is woken */
bool readable[2];

/* What the thread has done of its present news, for ALL_THREADS */
bool published[2], looked_at_hook[2], looked_at_sleeps[2];
bool looked_at_attached[2];

/* Without ASKS, both want to be woken from the start */
#ifdef ASKS
#define FIRST_WISH 0
#else
#define FIRST_WISH 1
#endif

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

/* IS_HOOKED is a fence of the compiler: without it, the program that runs may
 * look first and then publish */
#ifdef NO_IS_HOOKED
#define HOOK_IN_ORDER(me) true
#else
#define HOOK_IN_ORDER(me) (!looked_at_hook[me] || published[me])
#endif

/* Are the things that it has done the first ones in the program's order? */
#define INTERRUPTIBLE(me) \
    (HOOK_IN_ORDER(me) && \
     (!(looked_at_sleeps[me] || looked_at_attached[me]) || \
      (published[me] && looked_at_hook[me])))
#endif


/* Waker: store news, and notify the sleeper if it sleeps */
inline publish(me, count) {
    atomic {
        published[me]          = false;
        looked_at_hook[me]     = false;
        looked_at_sleeps[me]   = false;
        looked_at_attached[me] = false;
    };

#ifdef TSO
#ifdef NO_IS_HOOKED
    hook = mem[HOOK(me)];
    STORE(me, NEWS(me), count);
#else
    STORE(me, NEWS(me), count);                 /* PUBLISH, PASS, GIVE_BACK */
    hook = mem[HOOK(me)];                       /* IS_HOOKED */
#endif
    if
    :: hook ->
#ifndef NO_AFTER_NEWS
        FENCE(me);                              /* AFTER_NEWS */
#endif
        seen     = mem[SLEEPS(me)];             /* IS_ASLEEP */
        attached = mem[ATTACHED(me)]
    :: else
    fi;
#else
    do
    :: atomic { !published[me] ->
           mem[NEWS(me)] = count;               /* PUBLISH, PASS, GIVE_BACK */
           published[me] = true }
    :: atomic { !looked_at_hook[me] ->
           hook = mem[HOOK(me)];                /* IS_HOOKED */
           looked_at_hook[me] = true }
    :: atomic { !looked_at_sleeps[me] && AFTER_NEWS(me) ->
           seen = mem[SLEEPS(me)];              /* IS_ASLEEP */
           looked_at_sleeps[me] = true }
    :: atomic { !looked_at_attached[me] && AFTER_NEWS(me) ->
           attached = mem[ATTACHED(me)];
           looked_at_attached[me] = true }
    :: published[me] && looked_at_hook[me] &&
       ((looked_at_sleeps[me] && looked_at_attached[me]) || !hook) -> break
    od;
#endif

    if
    :: hook && IS_ODD(seen) && (seen != served) && attached ->
        served = seen;
        readable[1 - me] = true                 /* notify */
    :: else
    fi;
    hook     = false;
    attached = false;
    seen     = 0
}

#ifdef ASKS
/* Sleeper: say what is wanted from now on, and let the service send word of it,
 * unless it will do so anyway */
inline wish_for(me, d, number) {
    wants = number;
#if defined(TSO) && defined(NO_POST)
    STORE(me, WANTS(d), wants);
    posted = mem[POSTED(d)];
    STORE(me, POSTED(d), true);
#elif defined(TSO)
    STORE(me, WANTS(d), wants);
    atomic {                                    /* POST */
        FENCE(me) ->
        posted         = mem[POSTED(d)];
        mem[POSTED(d)] = true
    };
#elif defined(NO_POST)
    if
    :: mem[WANTS(d)] = wants;
       atomic { posted = mem[POSTED(d)]; mem[POSTED(d)] = true }
    :: atomic { posted = mem[POSTED(d)]; mem[POSTED(d)] = true };
       mem[WANTS(d)] = wants
    fi;
#else
    mem[WANTS(d)] = wants;
    atomic {                                    /* POST */
        posted         = mem[POSTED(d)];
        mem[POSTED(d)] = true
    };
#endif
    if
    :: !posted -> FENCE(me); work!0             /* By a lock */
    :: else
    fi;
    posted = false
}

/* Begins to sleep, and has not asked */
inline ask(me, d) {
    if
    :: wants == 0 ->
        asks = asks + 1;
#ifdef SAME_WISH
        wish_for(me, d, 1)
#else
        wish_for(me, d, asks)
#endif
    :: else
    fi
}

/* Is awake, and has polled for long, or not */
inline leave(me, d) {
    if
    :: (wants != 0) && (asks < ASKS) -> wish_for(me, d, 0)
    :: true
    fi
}
#else
#define ask(me, d)   skip
#define leave(me, d) skip
#endif

#define IS_ACKED(d) ((wants != 0) && (mem[NOTIFIES(d)] == wants))

/* Sleeper: wait until there are more than `count` news. `d` is the direction
 * that they come from. */
inline sleep_until(me, d, count) {
    do
    :: true ->
        ask(me, d);
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
        acked = IS_ACKED(d);                    /* ACKED */
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
               acked = IS_ACKED(d);             /* ACKED */
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
            IS_ACKED(d) || (mem[NEWS(d)] > count)
        :: news <= count && acked ->
            readable[me]                        /* Sleep */
        fi;

        /* Progress: awake */
        sleeps = sleeps + 1;
        STORE(me, SLEEPS(d), sleeps);
        leave(me, d);
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
    byte i, sleeps, served, seen, news, wants = FIRST_WISH, asks;
    bool hook, attached, acked, posted, did_sleep, did_ack, did_look;

    for (i : 1 .. MESSAGES) {
#ifndef ASKS
        /* Room: as many lines given back as were taken */
        if
        :: mem[NEWS(OF_ROOM)] + 1 >= i
        :: else -> sleep_until(0, OF_ROOM, i - 2)
        fi;
#endif
        publish(0, i)
    }
}

proctype receiver()
{
    byte i, sleeps, served, seen, news, wants = FIRST_WISH, asks;
    bool hook, attached, acked, posted, did_sleep, did_ack, did_look;

    for (i : 1 .. MESSAGES) {
        if
        :: mem[NEWS(OF_MESSAGES)] >= i
        :: else -> sleep_until(1, OF_MESSAGES, i - 1)
        fi;
#ifndef ASKS
        publish(1, i)
#endif
    }
}

/* The waker's service: each thread of this process does a full fence */
inline all_threads(d) {
#if defined(NO_ALL_THREADS)
    skip
#elif defined(NO_MEMBARRIER)
    FENCE(2 + d)                                /* ALL_THREADS */
#else
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
    }
#endif
}

#ifdef NO_MEMBARRIER
#define UNHOOK(d) skip
#else
#define UNHOOK(d) STORE(2 + d, HOOK(d), false)
#endif

inline set_hook(d) {
    if
    :: heard != 0 -> STORE(2 + d, HOOK(d), true)    /* HOOK */
    :: else       -> UNHOOK(d)
    fi
}

/* The waker's service: do what the sleeper wants. On a processor that reorders,
 * only ALL_THREADS, or that ACK is a release, keeps ACK behind the others. */
inline serve(d) {
    heard = mem[WANTS(d)];
#if defined(WEAK) && defined(NO_ACK) && defined(NO_ALL_THREADS)
    if
    :: STORE(2 + d, NOTIFIES(d), heard)
    :: skip
    fi;
#endif
    if
    :: heard != 0 -> STORE(2 + d, ATTACHED(d), true)
    :: else
    fi;
#ifdef EARLY_ACK
    STORE(2 + d, NOTIFIES(d), heard);
#endif
#ifndef LATE_HOOK
    set_hook(d);
#endif
    all_threads(d);
#ifdef LATE_HOOK
    set_hook(d);
#endif
    STORE(2 + d, NOTIFIES(d), heard);           /* ACK */
    heard = 0
}

#ifdef ASKS
/* The sleeper's service: send word of what is wanted */
proctype attach(byte d)
{
    byte wish;

end:
    do
    :: work?0 ->
#if defined(TSO) && defined(NO_REPOST)
        STORE(3 - d, POSTED(d), false);
        wish = mem[WANTS(d)];
#elif defined(TSO)
        atomic {                                /* REPOST */
            FENCE(3 - d) -> mem[POSTED(d)] = false
        };
        wish = mem[WANTS(d)];
#elif defined(NO_REPOST)
        if
        :: mem[POSTED(d)] = false; wish = mem[WANTS(d)]
        :: wish = mem[WANTS(d)]; mem[POSTED(d)] = false
        fi;
#else
        mem[POSTED(d)] = false;                 /* REPOST */
        wish = mem[WANTS(d)];
#endif
        FENCE(3 - d);                           /* By a system call */
        attention!(wish != 0);
        wish = 0
    od
}

/* The waker's service. It keeps the first descriptor that it gets. */
proctype service(byte d)
{
    byte heard;
    bool has_wake, can_wake;
#ifdef TSO
    byte where, what;
#endif

end:
    do
    :: attention?has_wake ->
        can_wake = can_wake || has_wake;
        has_wake = false;
        if
        :: can_wake -> serve(d)
        :: else
        fi
    od
}
#else
/* Begins to serve the other side's wish to be woken */
proctype service(byte d)
{
    byte heard;
#ifdef TSO
    byte where, what;
#endif

    serve(d)
}
#endif

/* Where all has come to an end, the waker knows what the sleeper wants */
inline check_wishes() {
    timeout ->
    assert(mem[NOTIFIES(OF_MESSAGES)] == mem[WANTS(OF_MESSAGES)])
}

init {
    atomic {
#ifdef NO_MEMBARRIER
        mem[HOOK(OF_MESSAGES)] = true;
        mem[HOOK(OF_ROOM)]     = true;
#endif
        mem[WANTS(OF_MESSAGES)] = FIRST_WISH;
        mem[WANTS(OF_ROOM)]     = FIRST_WISH;
        run sender();
        run receiver();
        run service(OF_MESSAGES);
#ifdef ASKS
        run attach(OF_MESSAGES);
#else
        run service(OF_ROOM);
#endif
#ifdef TSO
        run drain_buffer(0);
        run drain_buffer(1);
        run drain_buffer(2);
        run drain_buffer(3);
#endif
    };
#ifdef ASKS
    check_wishes()
#endif
}
