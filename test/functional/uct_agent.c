/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * uct_agent: a peer at UCT's level that does what it is told, one command a line
 * on its standard input, and answers each by one line, "ok ..." or "error ...".
 * Between two commands it makes progress, gently. So a script on another machine
 * can let several of them, in several virtual machines, meet in any order.
 *
 *   uct_agent [-t transport] [-d device]
 *
 *   open COUNT               open that many interfaces; "ok ADDRESS..."
 *   address                  of the first one, as it is now
 *   close                    destroy all endpoints, close all interfaces
 *   reach ADDRESS            "ok 1" if it can be reached, "ok 0" if not
 *   connect NAME ADDRESS     make an endpoint, of the first interface
 *   disconnect NAME          destroy it ("all": each)
 *   send NAME MODE COUNT SIZE   send messages (short, bcopy, zcopy; "all")
 *   flush NAME               ("all": each)
 *   stream NAME SECONDS      send messages until the time is over, or it fails
 *   pour NAME SECONDS        the same, until the next command comes, or the time is
 *                            over; "ok SENT SECONDS STATUS"
 *   serve SECONDS            progress all the time, until the next command comes;
 *                            "ok RECEIVED BAD"
 *   cycles COUNT ADDRESS     connect, send, flush, disconnect, over and over
 *   wait COUNT SECONDS       until so many messages were received, in all;
 *                            "ok RECEIVED BAD"
 *   copied                   "ok N": messages received in a buffer of the
 *                            interface's, instead of in shared memory
 *   twice                    "ok READ CHANGED": messages of another kind, which are
 *                            read twice, and those that were not the same
 *   counters                 "ok VIOLATIONS REFUSED", as the transport counts them
 *   failures COUNT SECONDS   until so many endpoints have failed; "ok FAILED"
 *   doze COUNT SECONDS       the same, but asleep but for UCX's events
 *   nap COUNT SECONDS        like wait, but asleep but for UCX's events; "ok RECEIVED
 *                            SLEEPS"
 *   check NAME               ask whether the peer is there, as UCX's keepalive
 *   fill NAME ADDRESS KEY    have operations outstanding, and then send until
 *                            there is no room, and more requests wait for it;
 *                            "ok SENT". Another one's "memory" is at ADDRESS
 *   outcome NAME             how they ended, and how many requests are purged;
 *                            "ok GET, FLUSH, PURGED"
 *   stop, go                 no progress between commands; progress again
 *   count                    "ok FDS SHARED HEAP", of this process: open files,
 *                            but for a timer of each interface, bytes of
 *                            shared mappings, and bytes from malloc() in use
 *   pid                      "ok PID"
 *   grants                   pages that this guest could still grant (root)
 *   eat COUNT                take so many of these away (until "release", or exit)
 *   shell COMMAND            "ok OUTPUT", its lines joined by blanks
 *   memory SIZE              register memory, with all rights; "ok KEY", its
 *                            packed key
 *   intact                   "ok 1" if that holds what it held, else "ok 0"
 *   forget                   end the registration
 *   alloc SIZE               allocate memory that peers may map, with all rights;
 *                            "ok ADDRESS KEY"
 *   word OFFSET              "ok VALUE", 64 bits of it
 *   free                     it
 *   key KEY                  unpack a key; "ok", also if it is never of use
 *   put NAME ADDRESS VALUE   write a word by that key, and flush
 *   puts NAME ADDRESS SECONDS   the same over and over, without flush, until the
 *                            time is over or it fails
 *   release-key              be done with it
 *   exit                     without closing anything
 *   exec                     another program, which waits
 *   fork                     a child, which waits and has closed its standard
 *                            descriptors; "ok PID"
 */

#include "uct_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xen/gntalloc.h>

#define AGENT_PROGRESS      64 /* Calls between two looks for a command */
#define AGENT_PAUSE_MS      1  /* After these */
#define AGENT_LINE_MAX      (128 * 1024)
#define AGENT_STREAM_SIZE   1000
#define AGENT_POUR_STEP     0.001  /* Seconds to wait for room, at a time */
#define AGENT_DOMAIN_NOBODY 0x7fef /* For pages that nobody shall map */
#define AGENT_MEMORY_SEED   77
#define AGENT_KEY_MAX       256

agent_t agent = {.gntalloc = -1};

/* The header is the seed of what follows */
static ucs_status_t
agent_received(void *arg, void *data, size_t length, unsigned flags)
{
    uint64_t seed;

    memcpy(&seed, data, sizeof(seed));
    if (!utest_is_filled((char *)data + sizeof(seed), length - sizeof(seed),
                         seed)) {
        ++agent.bad;
    }
    agent.copied += (flags & UCT_CB_PARAM_FLAG_DESC) != 0;
    ++agent.received;
    return UCS_OK;
}

static ucs_status_t agent_failed(void *arg, uct_ep_h ep, ucs_status_t status)
{
    ++agent.failed;
    fprintf(stderr, "agent: an endpoint failed: %s\n",
            ucs_status_string(status));
    return UCS_OK;
}

void agent_answer(ucs_status_t status)
{
    if (status == UCS_OK) {
        printf("ok\n");
    } else {
        printf("error %s\n", ucs_status_string(status));
    }
}

void agent_progress(void)
{
    if (agent.num_ifaces > 0) {
        uct_worker_progress(agent.context.worker);
    }
}

static void agent_open(char *arguments)
{
    char            text[UTEST_TEXT_MAX];
    int             count = atoi(arguments);
    utest_address_t address;
    utest_iface_t  *iface;

    printf("ok");
    while (count-- > 0) {
        if (agent.num_ifaces == AGENT_MAX_IFACES) {
            utest_fail("too many interfaces");
        }
        iface = &agent.ifaces[agent.num_ifaces++];
        utest_iface_open(iface, &agent.context, agent_failed, NULL);
        utest_check(uct_iface_set_am_handler(iface->iface, AGENT_AM_ID,
                                             agent_received, NULL, 0),
                    "uct_iface_set_am_handler");
        utest_check(uct_iface_set_am_handler(iface->iface, AGENT_TWICE_ID,
                                             agent_read_twice, NULL, 0),
                    "uct_iface_set_am_handler");
        utest_address_get(iface, &address);
        utest_address_print(&address, text);
        printf(" %s", text);
    }
    printf("\n");
}

static void agent_address(char *arguments)
{
    char            text[UTEST_TEXT_MAX];
    utest_address_t address;

    utest_address_get(&agent.ifaces[0], &address);
    utest_address_print(&address, text);
    printf("ok %s\n", text);
}

static void agent_disconnect_all(void)
{
    while (agent.num_eps > 0) {
        uct_ep_destroy(agent.eps[--agent.num_eps].ep);
    }
}

static void agent_close(char *arguments)
{
    agent_disconnect_all();
    while (agent.num_ifaces > 0) {
        utest_iface_close(&agent.ifaces[--agent.num_ifaces]);
    }
    agent_answer(UCS_OK);
}

static void agent_reach(char *arguments)
{
    utest_address_t address;

    utest_address_parse(&address, arguments);
    printf("ok %d\n", utest_is_reachable(&agent.ifaces[0], &address));
}

static void agent_connect(char *arguments)
{
    agent_ep_t     *ep   = &agent.eps[agent.num_eps];
    const char     *name = strsep(&arguments, " ");
    utest_address_t address;
    ucs_status_t    status;

    if ((agent.num_eps == AGENT_MAX_EPS) || (arguments == NULL)) {
        utest_fail("bad connect");
    }
    utest_address_parse(&address, arguments);
    snprintf(ep->name, sizeof(ep->name), "%s", name);
    ep->sent = 0;
    status   = utest_connect(&agent.ifaces[0], &address, &ep->ep);
    agent.num_eps += (status == UCS_OK);
    agent_answer(status);
}

static int agent_is_named(const agent_ep_t *ep, const char *name)
{
    return !strcmp(name, "all") || !strcmp(name, ep->name);
}

agent_ep_t *agent_find(const char *name)
{
    unsigned i;

    for (i = 0; i < agent.num_eps; ++i) {
        if (agent_is_named(&agent.eps[i], name)) {
            return &agent.eps[i];
        }
    }
    utest_fail("there is no endpoint \"%s\"", name);
}

static void agent_disconnect(char *arguments)
{
    agent_ep_t *ep;

    if (!strcmp(arguments, "all")) {
        agent_disconnect_all();
    } else {
        ep = agent_find(arguments);
        uct_ep_destroy(ep->ep);
        *ep = agent.eps[--agent.num_eps];
    }
    agent_answer(UCS_OK);
}

static utest_mode_t agent_mode(const char *name)
{
    return !strcmp(name, "short") ? UTEST_SHORT :
           !strcmp(name, "bcopy") ? UTEST_BCOPY :
                                    UTEST_ZCOPY;
}

static ucs_status_t
agent_send_one(agent_ep_t *ep, utest_mode_t mode, size_t size, double deadline)
{
    char        *data = malloc(size + 1);
    ucs_status_t status;

    utest_fill(data, size, ep->sent);
    status = utest_send(&agent.ifaces[0], ep->ep, AGENT_AM_ID, mode, ep->sent,
                        data, size, deadline);
    ep->sent += (status == UCS_OK);
    free(data);
    return status;
}

static void agent_send(char *arguments)
{
    double       deadline = utest_now() + AGENT_PATIENCE;
    ucs_status_t status   = UCS_OK;
    char         name[AGENT_NAME_MAX], mode[AGENT_NAME_MAX];
    unsigned     count, i, j;
    size_t       size;

    if (sscanf(arguments, "%15s %15s %u %zu", name, mode, &count, &size) != 4) {
        utest_fail("bad send");
    }
    for (i = 0; (status == UCS_OK) && (i < count); ++i) {
        for (j = 0; (status == UCS_OK) && (j < agent.num_eps); ++j) {
            if (agent_is_named(&agent.eps[j], name)) {
                status = agent_send_one(&agent.eps[j], agent_mode(mode), size,
                                        deadline);
            }
        }
    }
    agent_answer(status);
}

static void agent_flush(char *arguments)
{
    double       deadline = utest_now() + AGENT_PATIENCE;
    ucs_status_t status   = UCS_OK;
    unsigned     i;

    for (i = 0; (status == UCS_OK) && (i < agent.num_eps); ++i) {
        if (agent_is_named(&agent.eps[i], arguments)) {
            status = utest_flush(&agent.ifaces[0], agent.eps[i].ep, deadline);
        }
    }
    agent_answer(status);
}

static void agent_stream(char *arguments)
{
    agent_ep_t  *ep       = agent_find(strsep(&arguments, " "));
    double       deadline = utest_now() + atof(arguments);
    uint64_t     before   = ep->sent;
    ucs_status_t status;

    do {
        status = agent_send_one(ep, UTEST_SHORT, AGENT_STREAM_SIZE, deadline);
    } while ((status == UCS_OK) && (utest_now() < deadline));
    printf("ok %lu %s\n", (unsigned long)(ep->sent - before),
           ucs_status_string(status));
}

/* Is there a command to read? A look at it costs a system call: not each time. */
static int agent_is_asked(uint64_t *calls)
{
    struct pollfd pfd = {.fd = STDIN_FILENO, .events = POLLIN};

    return ((++*calls % AGENT_PROGRESS) == 0) && (poll(&pfd, 1, 0) != 0);
}

static void agent_pour(char *arguments)
{
    agent_ep_t  *ep     = agent_find(strsep(&arguments, " "));
    double       start  = utest_now();
    double       end    = start + atof(arguments);
    uint64_t     before = ep->sent;
    uint64_t     calls  = 0;
    ucs_status_t status = UCS_OK;

    while (!agent_is_asked(&calls) && (utest_now() < end) &&
           ((status == UCS_OK) || (status == UCS_ERR_TIMED_OUT))) {
        status = agent_send_one(ep, UTEST_SHORT, AGENT_STREAM_SIZE,
                                utest_now() + AGENT_POUR_STEP);
    }
    printf("ok %lu %f %s\n", (unsigned long)(ep->sent - before),
           utest_now() - start, ucs_status_string(status));
}

static void agent_serve_peers(char *arguments)
{
    double   end   = utest_now() + atof(arguments);
    uint64_t calls = 0;

    while (!agent_is_asked(&calls) && (utest_now() < end)) {
        agent_progress();
    }
    printf("ok %lu %lu\n", (unsigned long)agent.received,
           (unsigned long)agent.bad);
}

static ucs_status_t agent_cycle(const utest_address_t *address)
{
    agent_ep_t   ep = {.sent = 0};
    ucs_status_t status;

    status = utest_connect(&agent.ifaces[0], address, &ep.ep);
    if (status != UCS_OK) {
        return status;
    }
    status = agent_send_one(&ep, UTEST_SHORT, 8, utest_now() + AGENT_PATIENCE);
    if (status == UCS_OK) {
        status = utest_flush(&agent.ifaces[0], ep.ep,
                             utest_now() + AGENT_PATIENCE);
    }
    uct_ep_destroy(ep.ep);
    return status;
}

static void agent_cycles(char *arguments)
{
    int             count  = atoi(strsep(&arguments, " "));
    ucs_status_t    status = UCS_OK;
    utest_address_t address;

    utest_address_parse(&address, arguments);
    while ((status == UCS_OK) && (count-- > 0)) {
        status = agent_cycle(&address);
    }
    agent_answer(status);
}

static void agent_wait(char *arguments)
{
    unsigned long count    = strtoul(strsep(&arguments, " "), NULL, 0);
    double        deadline = utest_now() + atof(arguments);

    while ((agent.received < count) && (utest_now() < deadline)) {
        agent_progress();
    }
    printf("ok %lu %lu\n", (unsigned long)agent.received,
           (unsigned long)agent.bad);
}

static void agent_failures(char *arguments)
{
    unsigned count    = (unsigned)atoi(strsep(&arguments, " "));
    double   deadline = utest_now() + atof(arguments);

    while ((agent.failed < count) && (utest_now() < deadline)) {
        agent_progress();
        usleep(100);
    }
    printf("ok %u\n", agent.failed);
}

static void agent_stop(char *arguments)
{
    agent.is_stopped = 1;
    agent_answer(UCS_OK);
}

static void agent_go(char *arguments)
{
    agent.is_stopped = 0;
    agent_answer(UCS_OK);
}

/* An interface opens a timer when a peer is slow to say that it will wake it, on a
 * busy machine at any time, and keeps it: one for each is no leak */
static void agent_count(char *arguments)
{
    long     timers = utest_count_timers();
    uint64_t shared;

    if (timers > (long)agent.num_ifaces) {
        timers = agent.num_ifaces;
    }

    utest_count_maps(&shared);
    printf("ok %ld %lu %zu\n", utest_count_fds() - timers,
           (unsigned long)shared, utest_count_heap());
}

static void agent_pid(char *arguments)
{
    printf("ok %d\n", (int)getpid());
}

/* Take pages away. @return Not zero if there were so many. */
static int agent_alloc_pages(int fd, unsigned count, uint64_t *index_p)
{
    struct ioctl_gntalloc_alloc_gref *alloc;
    int                               ret;

    alloc        = calloc(1, sizeof(*alloc) + count * sizeof(uint32_t));
    alloc->domid = AGENT_DOMAIN_NOBODY;
    alloc->count = count;
    ret          = ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, alloc);
    *index_p     = alloc->index;
    free(alloc);
    return ret == 0;
}

static int agent_open_gntalloc(void)
{
    int fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        utest_fail("/dev/xen/gntalloc: %s", strerror(errno));
    }
    return fd;
}

static int agent_can_grant(int fd, unsigned count)
{
    struct ioctl_gntalloc_dealloc_gref release = {.count = count};
    uint64_t                           index;

    if (!agent_alloc_pages(fd, count, &index)) {
        return 0;
    }
    release.index = index;
    return ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &release) == 0;
}

/* The kernel does not tell, but refuses one too many */
static void agent_grants(char *arguments)
{
    int      fd   = agent_open_gntalloc();
    unsigned good = 0;
    unsigned step;

    for (step = 1u << 20; step > 0; step /= 2) {
        good += agent_can_grant(fd, good + step) ? step : 0;
    }
    close(fd);
    printf("ok %u\n", good);
}

static void agent_eat(char *arguments)
{
    unsigned count = (unsigned)atoi(arguments);
    uint64_t index;

    agent.gntalloc = agent_open_gntalloc();
    if (agent_alloc_pages(agent.gntalloc, count, &index)) {
        agent_answer(UCS_OK);
    } else {
        printf("error %s\n", strerror(errno));
    }
}

static void agent_release_pages(char *arguments)
{
    close(agent.gntalloc);
    agent_answer(UCS_OK);
}

static void agent_shell(char *arguments)
{
    FILE *pipe = popen(arguments, "r");
    int   c;

    if (pipe == NULL) {
        utest_fail("cannot run \"%s\"", arguments);
    }
    printf("ok ");
    while ((c = fgetc(pipe)) != EOF) {
        putchar((c == '\n') ? ' ' : c);
    }
    pclose(pipe);
    printf("\n");
}

static void agent_print_key(uct_mem_h memh)
{
    uint8_t       key[AGENT_KEY_MAX];
    uct_md_attr_t attr;
    size_t        i;

    utest_check(uct_md_query(agent.context.md, &attr), "uct_md_query");
    utest_check(uct_md_mkey_pack(agent.context.md, memh, key),
                "uct_md_mkey_pack");
    for (i = 0; i < attr.rkey_packed_size; ++i) {
        printf("%02x", key[i]);
    }
    printf("\n");
}

static void agent_memory(char *arguments)
{
    agent.memory_size = strtoul(arguments, NULL, 0);
    agent.memory      = malloc(agent.memory_size);
    utest_fill(agent.memory, agent.memory_size, AGENT_MEMORY_SEED);
    utest_check(uct_md_mem_reg(agent.context.md, agent.memory,
                               agent.memory_size, UCT_MD_MEM_ACCESS_ALL,
                               &agent.memh),
                "uct_md_mem_reg");
    printf("ok ");
    agent_print_key(agent.memh);
}

static void agent_intact(char *arguments)
{
    printf("ok %d\n",
           utest_is_filled(agent.memory, agent.memory_size, AGENT_MEMORY_SEED));
}

static void agent_forget(char *arguments)
{
    agent_answer(uct_md_mem_dereg(agent.context.md, agent.memh));
}

static void agent_alloc(char *arguments)
{
    uct_alloc_method_t     method = UCT_ALLOC_METHOD_MD;
    uct_mem_alloc_params_t params = {
            .field_mask = UCT_MEM_ALLOC_PARAM_FIELD_FLAGS |
                          UCT_MEM_ALLOC_PARAM_FIELD_MEM_TYPE |
                          UCT_MEM_ALLOC_PARAM_FIELD_MDS,
            .flags    = UCT_MD_MEM_ACCESS_ALL,
            .mem_type = UCS_MEMORY_TYPE_HOST,
            .mds      = {.mds = &agent.context.md, .count = 1}};

    utest_check(uct_mem_alloc(strtoul(arguments, NULL, 0), &method, 1, &params,
                              &agent.window),
                "uct_mem_alloc");
    printf("ok %lu ", (unsigned long)(uintptr_t)agent.window.address);
    agent_print_key(agent.window.memh);
}

static void agent_word(char *arguments)
{
    const volatile uint64_t *word =
            (const volatile uint64_t *)((char *)agent.window.address +
                                        strtoul(arguments, NULL, 0));

    printf("ok %lu\n", (unsigned long)*word);
}

static void agent_free(char *arguments)
{
    agent_answer(uct_mem_free(&agent.window));
}

static void agent_key(char *arguments)
{
    uint8_t key[AGENT_KEY_MAX];
    size_t  i;

    for (i = 0; (i < sizeof(key)) &&
                (sscanf(arguments + (2 * i), "%2hhx", &key[i]) == 1);
         ++i) {
    }
    agent_answer(uct_rkey_unpack(agent.context.component, key, &agent.rkey));
}

static void agent_release_key(char *arguments)
{
    agent_answer(uct_rkey_release(agent.context.component, &agent.rkey));
}

static void agent_put(char *arguments)
{
    agent_ep_t  *ep       = agent_find(strsep(&arguments, " "));
    uint64_t     address  = strtoul(strsep(&arguments, " "), NULL, 0);
    double       deadline = utest_now() + AGENT_PATIENCE;
    ucs_status_t status;

    status = utest_put(&agent.ifaces[0], ep->ep, address, agent.rkey.rkey,
                       strtoul(arguments, NULL, 0), deadline);
    if (status == UCS_OK) {
        status = utest_flush(&agent.ifaces[0], ep->ep, deadline);
    }
    agent_answer(status);
}

static void agent_puts(char *arguments)
{
    agent_ep_t  *ep      = agent_find(strsep(&arguments, " "));
    uint64_t     address = strtoul(strsep(&arguments, " "), NULL, 0);
    double       end     = utest_now() + atof(arguments);
    uint64_t     count   = 0;
    ucs_status_t status  = UCS_OK;

    while ((status == UCS_OK) && (utest_now() < end)) {
        status = utest_put(&agent.ifaces[0], ep->ep, address, agent.rkey.rkey,
                           ++count, end);
        agent_progress();
    }
    printf("ok %lu %s\n", (unsigned long)count, ucs_status_string(status));
}

static const struct {
    const char *name;
    void (*run)(char *arguments);
} agent_commands[] = {{"open", agent_open},
                      {"address", agent_address},
                      {"close", agent_close},
                      {"reach", agent_reach},
                      {"connect", agent_connect},
                      {"disconnect", agent_disconnect},
                      {"send", agent_send},
                      {"flush", agent_flush},
                      {"stream", agent_stream},
                      {"pour", agent_pour},
                      {"serve", agent_serve_peers},
                      {"cycles", agent_cycles},
                      {"wait", agent_wait},
                      {"copied", agent_copied},
                      {"twice", agent_twice},
                      {"counters", agent_counters},
                      {"failures", agent_failures},
                      {"doze", agent_doze},
                      {"nap", agent_nap},
                      {"check", agent_check},
                      {"fill", agent_fill},
                      {"outcome", agent_outcome},
                      {"stop", agent_stop},
                      {"go", agent_go},
                      {"count", agent_count},
                      {"pid", agent_pid},
                      {"grants", agent_grants},
                      {"eat", agent_eat},
                      {"release", agent_release_pages},
                      {"shell", agent_shell},
                      {"memory", agent_memory},
                      {"intact", agent_intact},
                      {"forget", agent_forget},
                      {"alloc", agent_alloc},
                      {"word", agent_word},
                      {"free", agent_free},
                      {"key", agent_key},
                      {"put", agent_put},
                      {"puts", agent_puts},
                      {"release-key", agent_release_key},
                      {"exit", agent_exit},
                      {"exec", agent_exec},
                      {"fork", agent_fork}};

static void agent_run(char *line)
{
    const char *name = strsep(&line, " ");
    size_t      i;

    for (i = 0; i < sizeof(agent_commands) / sizeof(agent_commands[0]); ++i) {
        if (!strcmp(agent_commands[i].name, name)) {
            agent_commands[i].run((line == NULL) ? "" : line);
            fflush(stdout);
            return;
        }
    }
    utest_fail("there is no command \"%s\"", name);
}

/* Wait for input, with progress. @return 0 at the end of it. */
static int agent_read(char *buffer, size_t *used, size_t size)
{
    struct pollfd pfd = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t       length;
    int           i;

    while (poll(&pfd, 1, AGENT_PAUSE_MS) == 0) {
        for (i = 0; !agent.is_stopped && (i < AGENT_PROGRESS); ++i) {
            agent_progress();
        }
    }
    length = read(STDIN_FILENO, buffer + *used, size - *used);
    if (length <= 0) {
        return 0;
    }
    *used += (size_t)length;
    return 1;
}

static void agent_serve(void)
{
    char  *buffer = malloc(AGENT_LINE_MAX);
    size_t used   = 0;
    char  *end;

    while (agent_read(buffer, &used, AGENT_LINE_MAX)) {
        while ((end = memchr(buffer, '\n', used)) != NULL) {
            *end = '\0';
            agent_run(buffer);
            used -= (size_t)(end + 1 - buffer);
            memmove(buffer, end + 1, used);
        }
    }
    free(buffer);
}

int main(int argc, char **argv)
{
    const char *tl_name  = "xshm";
    const char *dev_name = "local";
    int         c;

    while ((c = getopt(argc, argv, "t:d:")) != -1) {
        switch (c) {
        case 't':
            tl_name = optarg;
            break;
        case 'd':
            dev_name = optarg;
            break;
        default:
            fprintf(stderr, "usage: uct_agent [-t transport] [-d device]\n");
            return EXIT_FAILURE;
        }
    }
    /* Without a device it is only good for "shell" and the like */
    if (strcmp(dev_name, "none")) {
        utest_context_open(&agent.context, tl_name, dev_name);
    }
    agent_serve();
    if (strcmp(dev_name, "none")) {
        agent_disconnect_all();
        while (agent.num_ifaces > 0) {
            utest_iface_close(&agent.ifaces[--agent.num_ifaces]);
        }
        utest_context_close(&agent.context);
    }
    return EXIT_SUCCESS;
}
