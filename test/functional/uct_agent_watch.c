/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Commands of uct_agent: what the transport counts of peers that break the rules,
 * and how messages are handed up.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif

#include "uct_agent.h"

#include <ucs/datastruct/string_buffer.h>
#include <ucs/vfs/base/vfs_obj.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENT_MAX_PATHS 4096
#define AGENT_STATS     "/xshm_stats"
#define AGENT_PAUSE_US  2000 /* Between two reads of the same message */

/* UCX's virtual file system, folder by folder: what lists a folder may not list
 * another one meanwhile */
static struct {
    char    *paths[AGENT_MAX_PATHS];
    unsigned count;
} vfs;


static void agent_vfs_add(const char *name, void *arg)
{
    if ((vfs.count == AGENT_MAX_PATHS) ||
        (asprintf(&vfs.paths[vfs.count++], "%s/%s", (const char *)arg, name) <
         0)) {
        utest_fail("too many files of UCX's");
    }
}

static int agent_vfs_is_stats(const char *path)
{
    size_t length = strlen(path);

    return (length >= strlen(AGENT_STATS)) &&
           !strcmp(path + length - strlen(AGENT_STATS), AGENT_STATS);
}

/* Not links: they lead back */
static void agent_vfs_visit(char *path, ucs_string_buffer_t *text)
{
    ucs_vfs_path_info_t info;

    if (agent_vfs_is_stats(path)) {
        utest_check(ucs_vfs_path_read_file(path, text),
                    "ucs_vfs_path_read_file");
    } else if (*path == '\0') {
        (void)ucs_vfs_path_list_dir("/", agent_vfs_add, path);
    } else if ((ucs_vfs_path_get_info(path, &info) == UCS_OK) &&
               S_ISDIR(info.mode)) {
        (void)ucs_vfs_path_list_dir(path, agent_vfs_add, path);
    }
}

static void agent_vfs_read_stats(ucs_string_buffer_t *text)
{
    unsigned i;

    vfs.paths[0] = strdup("");
    vfs.count    = 1;
    for (i = 0; i < vfs.count; ++i) {
        agent_vfs_visit(vfs.paths[i], text);
    }
    for (i = 0; i < vfs.count; ++i) {
        free(vfs.paths[i]);
    }
}

/* Of all interfaces */
static unsigned long agent_sum(const char *text, const char *name)
{
    unsigned long sum = 0;

    while ((text = strstr(text, name)) != NULL) {
        text += strlen(name);
        sum += strtoul(text, NULL, 10);
    }
    return sum;
}

void agent_counters(char *arguments)
{
    ucs_string_buffer_t strb = UCS_STRING_BUFFER_INITIALIZER;
    const char         *text;

    agent_vfs_read_stats(&strb);
    text = ucs_string_buffer_cstr(&strb);
    printf("ok %lu %lu\n", agent_sum(text, " violations="),
           agent_sum(text, " refused_requests="));
    ucs_string_buffer_cleanup(&strb);
}

/* What a peer can change between the two reads, it can change between a check and
 * a use */
ucs_status_t
agent_read_twice(void *arg, void *data, size_t length, unsigned flags)
{
    void *first = malloc(length + 1);

    memcpy(first, data, length);
    usleep(AGENT_PAUSE_US);
    agent.changed += memcmp(first, data, length) != 0;
    ++agent.read_twice;
    free(first);
    return UCS_OK;
}

void agent_twice(char *arguments)
{
    printf("ok %lu %lu\n", (unsigned long)agent.read_twice,
           (unsigned long)agent.changed);
}

void agent_copied(char *arguments)
{
    printf("ok %lu\n", (unsigned long)agent.copied);
}
