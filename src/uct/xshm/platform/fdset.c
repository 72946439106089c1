/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "fdset.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>


#define XSHM_FDSET_WORD_BITS (sizeof(unsigned long) * CHAR_BIT)


static struct {
    pthread_mutex_t lock;
    pthread_once_t  once;
    unsigned long  *words; /* A bit for each descriptor */
    size_t          num_words;
    unsigned        count;
    int             is_child;
    void (*at_child)(void);
} xshm_fdset = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};


/* The lock is held across fork(), so that the child finds the set whole */
static void xshm_fdset_fork_prepare(void)
{
    pthread_mutex_lock(&xshm_fdset.lock);
}

static void xshm_fdset_fork_parent(void)
{
    pthread_mutex_unlock(&xshm_fdset.lock);
}

static void xshm_fdset_close_word(size_t index)
{
    unsigned long word = xshm_fdset.words[index];
    int           bit;

    xshm_fdset.words[index] = 0;
    for (; word != 0; word &= word - 1) {
        bit = __builtin_ctzl(word);
        close((int)((index * XSHM_FDSET_WORD_BITS) + bit));
    }
}

static void xshm_fdset_fork_child(void)
{
    size_t i;

    for (i = 0; i < xshm_fdset.num_words; ++i) {
        xshm_fdset_close_word(i);
    }

    if (xshm_fdset.at_child != NULL) {
        xshm_fdset.at_child();
    }

    xshm_fdset.is_child = (xshm_fdset.count > 0) || xshm_fdset.is_child;
    xshm_fdset.count    = 0;
    pthread_mutex_unlock(&xshm_fdset.lock);
}

static void xshm_fdset_init(void)
{
    pthread_atfork(xshm_fdset_fork_prepare, xshm_fdset_fork_parent,
                   xshm_fdset_fork_child);
}

/* A set that cannot grow loses only the closing of this one in a child */
static int xshm_fdset_grow(size_t num_words)
{
    unsigned long *words;
    size_t         i;

    if (num_words <= xshm_fdset.num_words) {
        return 1;
    }

    words = realloc(xshm_fdset.words, num_words * sizeof(*words));
    if (words == NULL) {
        return 0;
    }

    for (i = xshm_fdset.num_words; i < num_words; ++i) {
        words[i] = 0;
    }

    xshm_fdset.words     = words;
    xshm_fdset.num_words = num_words;
    return 1;
}

int xshm_fdset_add(int fd)
{
    size_t index = (size_t)fd / XSHM_FDSET_WORD_BITS;

    pthread_once(&xshm_fdset.once, xshm_fdset_init);
    pthread_mutex_lock(&xshm_fdset.lock);
    if (xshm_fdset_grow(index + 1)) {
        xshm_fdset.words[index] |= 1ul << ((size_t)fd % XSHM_FDSET_WORD_BITS);
    }
    ++xshm_fdset.count;
    pthread_mutex_unlock(&xshm_fdset.lock);
    return fd;
}

/* Under the lock. @return Zero in a child, which has it no more. */
static int xshm_fdset_remove(int fd)
{
    size_t        index = (size_t)fd / XSHM_FDSET_WORD_BITS;
    unsigned long mask  = 1ul << ((size_t)fd % XSHM_FDSET_WORD_BITS);

    if (xshm_fdset.is_child) {
        return 0;
    }

    if (index < xshm_fdset.num_words) {
        xshm_fdset.words[index] &= ~mask;
    }

    --xshm_fdset.count;
    return 1;
}

void xshm_fdset_close(int fd)
{
    if (fd < 0) {
        return;
    }

    pthread_mutex_lock(&xshm_fdset.lock);
    if (xshm_fdset_remove(fd)) {
        close(fd);
    }
    pthread_mutex_unlock(&xshm_fdset.lock);
}

void xshm_fdset_forget(int fd)
{
    pthread_mutex_lock(&xshm_fdset.lock);
    xshm_fdset_remove(fd);
    pthread_mutex_unlock(&xshm_fdset.lock);
}

void xshm_fdset_at_child(void (*func)(void))
{
    pthread_once(&xshm_fdset.once, xshm_fdset_init);
    pthread_mutex_lock(&xshm_fdset.lock);
    xshm_fdset.at_child = func;
    pthread_mutex_unlock(&xshm_fdset.lock);
}

unsigned xshm_fdset_count(void)
{
    unsigned count;

    pthread_mutex_lock(&xshm_fdset.lock);
    count = xshm_fdset.count;
    pthread_mutex_unlock(&xshm_fdset.lock);
    return count;
}

int xshm_fdset_is_child(void)
{
    return xshm_fdset.is_child;
}
