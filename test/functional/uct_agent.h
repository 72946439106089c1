/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of uct_agent share.
 */

#ifndef XSHM_TEST_UCT_AGENT_H_
#define XSHM_TEST_UCT_AGENT_H_

#include "uct_common.h"

#define AGENT_AM_ID      5
#define AGENT_TWICE_ID   6 /* Messages that are read twice */
#define AGENT_MAX_IFACES 128
#define AGENT_MAX_EPS    128
#define AGENT_NAME_MAX   16
#define AGENT_PATIENCE   120 /* Seconds, of what may not take forever */

typedef struct {
    char     name[AGENT_NAME_MAX];
    uct_ep_h ep;
    uint64_t sent;
} agent_ep_t;

typedef struct {
    utest_context_t        context;
    utest_iface_t          ifaces[AGENT_MAX_IFACES];
    unsigned               num_ifaces;
    agent_ep_t             eps[AGENT_MAX_EPS];
    unsigned               num_eps;
    uint64_t               received;
    uint64_t               bad;
    uint64_t               copied; /* Received in a buffer of the interface's */
    uint64_t               read_twice;
    uint64_t               changed; /* Meanwhile */
    unsigned               failed;
    int                    is_stopped;
    int                    gntalloc; /* That has eaten, or -1 */
    void                  *memory;
    size_t                 memory_size;
    uct_mem_h              memh;
    uct_allocated_memory_t window;
    uct_rkey_bundle_t      rkey;
} agent_t;

extern agent_t agent;

/** Answer a command by its status */
void agent_answer(ucs_status_t status);

/** One call of progress, if there is anything to make it for */
void agent_progress(void);

/** The endpoint of that name, or the first one ("all") */
agent_ep_t *agent_find(const char *name);

/* Commands: what a survivor does */
void agent_doze(char *arguments);
void agent_nap(char *arguments);
void agent_check(char *arguments);
void agent_fill(char *arguments);
void agent_outcome(char *arguments);

/* Commands: what hostile peers have done */
void agent_counters(char *arguments);
void agent_twice(char *arguments);
void agent_copied(char *arguments);

/** Handler of AGENT_TWICE_ID */
ucs_status_t
agent_read_twice(void *arg, void *data, size_t length, unsigned flags);

/* Commands: ways to end */
void agent_exit(char *arguments);
void agent_exec(char *arguments);
void agent_fork(char *arguments);

#endif
