/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The device "xen": granted pages, event channels and nodes of xenstore.
 */

#define _GNU_SOURCE

#include "hostile.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xen/gntalloc.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#define XEN_PATH_MAX      256
#define XEN_VALUE_MAX     200
#define XEN_DOMID_OFFSET  16
#define XEN_NAME_PART     5
#define XEN_POLL_MS       5
#define XEN_ROUNDS        8 /* Of what is slow here */
#define XEN_FLOOD_ROUNDS  100
#define XEN_NUM_SEEN      4096
#define XEN_PORTS_AT_ONCE 70
#define XEN_NUM_PORTS     (2 * XEN_PORTS_AT_ONCE)
#define XEN_ID_PATH       "data/xshm/id"
#define XEN_END_MS        1000 /* For which the machine seems to have ended */
#define XEN_FLOOD_SECONDS 10.0
#define XEN_FLOOD_THREADS 4
#define XEN_FLOOD_NAMES   24 /* Of each thread: a folder has room for them */

static const char xen_digits[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

static struct {
    struct xs_handle *xs;
    xengnttab_handle *gnttab;
    xenevtchn_handle *evtchn;
    int               gntalloc;
    uint32_t          domid;
    uint32_t          number;
    uint32_t          victim; /* That we listen for */
    uint64_t          process;
    char              seen[XEN_NUM_SEEN][HOSTILE_NAME_MAX];
    unsigned          num_seen;
} xen;

static uint32_t xen_domid(const hostile_address_t *address)
{
    uint16_t domid;

    hostile_check(address->device_length == XEN_DOMID_OFFSET + sizeof(domid),
                  "this is no address of the device");
    memcpy(&domid, address->device + XEN_DOMID_OFFSET, sizeof(domid));
    return domid;
}

static void xen_start(void)
{
    unsigned length;
    char    *value;

    xen.xs       = xs_open(0);
    xen.gnttab   = xengnttab_open(NULL, 0);
    xen.evtchn   = xenevtchn_open(NULL, 0);
    xen.gntalloc = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
    hostile_check((xen.xs != NULL) && (xen.gnttab != NULL) &&
                          (xen.evtchn != NULL) && (xen.gntalloc >= 0),
                  "Xen's devices");
    value = xs_read(xen.xs, XBT_NULL, "domid", &length);
    hostile_check(value != NULL, "domid");
    xen.domid = (uint32_t)atoi(value);
    free(value);
}

static void *xen_grant(uint32_t domid, uint32_t count, int flags,
                       uint64_t *index_p, uint32_t *grefs)
{
    struct ioctl_gntalloc_alloc_gref *alloc;
    void                             *ptr;

    alloc        = calloc(1, sizeof(*alloc) + (count * sizeof(uint32_t)));
    alloc->domid = (uint16_t)domid;
    alloc->flags = (uint16_t)flags;
    alloc->count = count;
    hostile_check(ioctl(xen.gntalloc, IOCTL_GNTALLOC_ALLOC_GREF, alloc) == 0,
                  "grant");
    memcpy(grefs, alloc->gref_ids, count * sizeof(uint32_t));
    *index_p = alloc->index;
    free(alloc);
    ptr = mmap(NULL, count * XSHM_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE,
               MAP_SHARED, xen.gntalloc, (off_t)*index_p);
    hostile_check(ptr != MAP_FAILED, "mmap");
    return ptr;
}

static void xen_ungrant(uint64_t index, uint32_t count)
{
    struct ioctl_gntalloc_dealloc_gref op = {.index = index, .count = count};

    hostile_check(ioctl(xen.gntalloc, IOCTL_GNTALLOC_DEALLOC_GREF, &op) == 0,
                  "free a grant");
}

static void xen_put_digits(char *text, uint64_t value, unsigned count)
{
    while (count-- > 0) {
        *text++ = xen_digits[value & 63];
        value >>= 6;
    }
    *text = '\0';
}

static void
xen_set_name(hostile_channel_t *channel, const hostile_address_t *victim)
{
    uint32_t number = ++xen.number;

    xen_put_digits(channel->name, victim->iface.process, XEN_NAME_PART);
    xen_put_digits(channel->name + XEN_NAME_PART, (uint64_t)getpid(),
                   XEN_NAME_PART);
    xen_put_digits(channel->name + (2 * XEN_NAME_PART), number, 4);
}

static void xen_alloc(hostile_channel_t       *channel,
                      const hostile_address_t *victim, size_t ring_size)
{
    uint32_t  grefs[XSHM_ABI_MAX_PAGE_REFS + 1];
    uint32_t  num_pages;
    uint32_t *refs;

    channel->domid     = xen_domid(victim);
    channel->data_size = XSHM_ABI_RING_OFFSET + ring_size;
    num_pages          = (uint32_t)(channel->data_size / XSHM_ABI_PAGE_SIZE);
    channel->ret       = xen_grant(channel->domid, 1, GNTALLOC_FLAG_WRITABLE,
                                   &channel->return_index, grefs);
    channel->data      = xen_grant(channel->domid, num_pages, 0,
                                   &channel->data_index, grefs + 1);
    channel->gref      = grefs[1];
    channel->data->return_ref = grefs[0];
    refs = (uint32_t *)((char *)channel->data + XSHM_ABI_PAGE_REF_OFFSET);
    memcpy(refs, grefs + 2, (num_pages - 1) * sizeof(*refs));
    hostile_fill_layout(channel);
    xen_set_name(channel, victim);
}

static void xen_path(char *path, char folder, uint32_t peer, const char *name)
{
    snprintf(path, XEN_PATH_MAX, "data/xshm/%c/%u%s%.99s", folder, peer,
             (*name == '\0') ? "" : "/", name);
}

static void xen_write(uint32_t peer, const char *name, const char *value)
{
    struct xs_permissions perms[2] = {{.id = xen.domid, .perms = XS_PERM_NONE},
                                      {.id = peer, .perms = XS_PERM_READ}};
    char                  path[XEN_PATH_MAX];

    xen_path(path, 'c', peer, "");
    xs_mkdir(xen.xs, XBT_NULL, path);
    xs_set_permissions(xen.xs, XBT_NULL, path, perms, 2);
    xen_path(path, 'c', peer, name);
    (void)xs_write(xen.xs, XBT_NULL, path, value, (unsigned)strlen(value));
}

static void xen_remove(uint32_t peer, const char *name)
{
    char path[XEN_PATH_MAX];

    xen_path(path, 'c', peer, name);
    (void)xs_rm(xen.xs, XBT_NULL, path);
}

static uint32_t xen_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint32_t)now.tv_sec;
}

static void xen_value(char *value, const hostile_channel_t *channel,
                      const hostile_address_t *victim, uint32_t num_pages)
{
    unsigned i;

    value += sprintf(value, "%u %u %u %u %016" PRIx64 " %u ", XSHM_ABI_VERSION,
                     xen_time(), channel->gref, num_pages,
                     victim->iface.process, victim->iface.iface);
    for (i = 0; i < XSHM_ABI_TOKEN_SIZE; ++i) {
        value += sprintf(value, "%02x", victim->iface.token[i]);
    }
}

static void xen_ask(hostile_channel_t *channel, const hostile_address_t *victim)
{
    char value[XEN_VALUE_MAX];

    xen_value(value, channel, victim,
              (uint32_t)(channel->data_size / XSHM_ABI_PAGE_SIZE));
    xen_write(channel->domid, channel->name, value);
}

static char *xen_read(uint32_t domid, char folder, const char *name)
{
    char     path[XEN_PATH_MAX];
    unsigned length;

    snprintf(path, sizeof(path), "/local/domain/%u/data/xshm/%c/%u/%.99s",
             domid, folder, xen.domid, name);
    return xs_read(xen.xs, XBT_NULL, path, &length);
}

static int xen_answer(hostile_channel_t *channel, double seconds)
{
    double         deadline = hostile_now() + seconds;
    volatile char *was_live = (volatile char *)&channel->ret->was_live;
    int            reason   = HOSTILE_NO_ANSWER;
    char          *value;

    while ((reason == HOSTILE_NO_ANSWER) && (hostile_now() < deadline)) {
        if (*was_live) {
            return HOSTILE_ACCEPTED;
        }
        value = xen_read(channel->domid, 'r', channel->name);
        if (value != NULL) {
            sscanf(value, "%*u %*u %d", &reason);
            free(value);
        }
        hostile_sleep_ms(XEN_POLL_MS);
    }
    return reason;
}

static int xen_is_ended(hostile_channel_t *channel)
{
    const volatile xshm_abi_return_t *ret = channel->ret;

    return ret->was_live && !ret->live;
}

static void xen_end(hostile_channel_t *channel)
{
    ((volatile xshm_abi_data_t *)channel->data)->live = 0;
    xen_remove(channel->domid, channel->name);
    munmap(channel->data, channel->data_size);
    munmap(channel->ret, XSHM_ABI_RETURN_SIZE);
    xen_ungrant(channel->return_index, 1);
    xen_ungrant(channel->data_index,
                (uint32_t)(channel->data_size / XSHM_ABI_PAGE_SIZE));
}

/* A port of ours that can be bound, and any number; and notifications by the
 * victim's port, if it has told one */
static void xen_attract(hostile_channel_t *channel)
{
    static int own = -1, theirs = -1;
    uint32_t   port;

    if (own < 0) {
        own = xenevtchn_bind_unbound_port(xen.evtchn, channel->domid);
    }
    port = __atomic_load_n(&channel->ret->wake.port, __ATOMIC_ACQUIRE);
    if ((theirs < 0) && (port != 0)) {
        theirs = xenevtchn_bind_interdomain(xen.evtchn, channel->domid, port);
    }
    if (theirs >= 0) {
        xenevtchn_notify(xen.evtchn, (evtchn_port_t)theirs);
    }
    __atomic_store_n(&channel->data->wake.port,
                     (hostile_random() % 2) ? (uint32_t)own :
                                              (uint32_t)hostile_random() % 64,
                     __ATOMIC_RELEASE);
}

static void xen_listen(hostile_address_t *own, const hostile_address_t *victim)
{
    xen.process = own->iface.process;
    xen.victim  = xen_domid(victim);
}

static int xen_was_seen(const char *name)
{
    unsigned i;

    for (i = 0; i < xen.num_seen; ++i) {
        if (!strcmp(xen.seen[i], name)) {
            return 1;
        }
    }
    hostile_check(xen.num_seen < XEN_NUM_SEEN, "too many requests");
    snprintf(xen.seen[xen.num_seen++], HOSTILE_NAME_MAX, "%s", name);
    return 0;
}

/* The name of a request for us that is new */
static int xen_find(char *name)
{
    char     path[XEN_PATH_MAX], prefix[XEN_NAME_PART + 1];
    unsigned count = 0, i;
    int      found = 0;
    char   **names;

    xen_put_digits(prefix, xen.process, XEN_NAME_PART);
    snprintf(path, sizeof(path), "/local/domain/%u/data/xshm/c/%u", xen.victim,
             xen.domid);
    names = xs_directory(xen.xs, XBT_NULL, path, &count);
    for (i = 0; (names != NULL) && (i < count) && !found; ++i) {
        found = !strncmp(names[i], prefix, XEN_NAME_PART) &&
                !xen_was_seen(names[i]);
        if (found) {
            snprintf(name, HOSTILE_NAME_MAX, "%s", names[i]);
        }
    }
    free(names);
    return found;
}

static void xen_map(hostile_channel_t *channel, uint32_t num_pages)
{
    uint32_t refs[XSHM_ABI_MAX_PAGE_REFS + 1] = {channel->gref};
    uint32_t return_ref;

    num_pages          = hostile_is_lazy ? 1 : num_pages;
    channel->data_size = (size_t)num_pages * XSHM_ABI_PAGE_SIZE;
    hostile_check(xengnttab_map_grant_ref(xen.gnttab, xen.victim, channel->gref,
                                          PROT_READ | PROT_WRITE) == NULL,
                  "the victim's data pages can be written");
    channel->data = xengnttab_map_grant_ref(xen.gnttab, xen.victim,
                                            channel->gref, PROT_READ);
    hostile_check(channel->data != NULL, "map the first page");
    memcpy(refs + 1, (char *)channel->data + XSHM_ABI_PAGE_REF_OFFSET,
           (num_pages - 1) * sizeof(*refs));
    return_ref = channel->data->return_ref;
    channel->data =
            xengnttab_map_domain_grant_refs(xen.gnttab, num_pages, xen.victim,
                                            refs, PROT_READ);
    channel->ret = xengnttab_map_grant_ref(xen.gnttab, xen.victim, return_ref,
                                           PROT_READ | PROT_WRITE);
    hostile_check((channel->data != NULL) && (channel->ret != NULL), "map");
}

static int xen_offered(hostile_channel_t *channel, double seconds)
{
    double   deadline = hostile_now() + seconds;
    char    *value    = NULL;
    unsigned num_pages;

    while ((value == NULL) && (hostile_now() < deadline)) {
        hostile_sleep_ms(XEN_POLL_MS);
        if (xen_find(channel->name)) {
            value = xen_read(xen.victim, 'c', channel->name);
        }
    }
    if (value == NULL) {
        return 0;
    }
    hostile_check((sscanf(value, "%*u %*u %u %u", &channel->gref, &num_pages) ==
                   2) && (num_pages <= XSHM_ABI_MAX_PAGE_REFS),
                  "the victim's request");
    free(value);
    xen_map(channel, num_pages);
    return 1;
}

static void xen_accept(hostile_channel_t *channel)
{
    volatile xshm_abi_return_t *ret = channel->ret;

    ret->live     = 1;
    ret->was_live = 1;
}

/* Its watch on this node is all by which another machine hears of an end */
static void xen_seem_to_end(void)
{
    struct xs_permissions perms = {.id = xen.domid, .perms = XS_PERM_READ};
    unsigned              length;
    char                 *value;

    value = xs_read(xen.xs, XBT_NULL, XEN_ID_PATH, &length);
    hostile_check((value != NULL) && xs_rm(xen.xs, XBT_NULL, XEN_ID_PATH),
                  "this machine's identity");
    hostile_sleep_ms(XEN_END_MS);
    hostile_check(xs_mkdir(xen.xs, XBT_NULL, XEN_ID_PATH) &&
                          xs_set_permissions(xen.xs, XBT_NULL, XEN_ID_PATH,
                                             &perms, 1) &&
                          xs_write(xen.xs, XBT_NULL, XEN_ID_PATH, value,
                                   length),
                  "this machine's identity");
    free(value);
}

const hostile_device_t hostile_xen = {.name        = "xen",
                                      .rounds      = XEN_FLOOD_ROUNDS,
                                      .has_refs    = 1,
                                      .start       = xen_start,
                                      .alloc       = xen_alloc,
                                      .ask         = xen_ask,
                                      .answer      = xen_answer,
                                      .is_ended    = xen_is_ended,
                                      .end         = xen_end,
                                      .attract     = xen_attract,
                                      .listen      = xen_listen,
                                      .offered     = xen_offered,
                                      .accept      = xen_accept,
                                      .seem_to_end = xen_seem_to_end};


/* For the victim by their names, and nonsense. When it has answered the request
 * behind them it has seen them all. */
static void xen_values(const hostile_address_t *victim)
{
    /* Behind the version, or without it. Who has another version is answered, and
     * not more often than some requests in half a minute. */
    static const struct {
        int         is_ours;
        const char *rest;
    } values[]                = {{0, ""},
                                 {1, ""},
                                 {1, " 1"},
                                 {1, " 1 1 1"},
                                 {0, "x"},
                                 {0, "-1 -1 -1"},
                                 {1, " 99999999999 1 1"},
                                 {1, "  1 1 1"},
                                 {0, "4294967296 1 1 1"},
                                 {1, " 1 1 1 zz 1 zz"},
                                 {0, "77 1 1 1"},
                                 {1, " 1 1 4294967295 0 0 0"}};
    uint32_t          domid   = xen_domid(victim);
    hostile_channel_t channel = {.domid = domid};
    char              version[XEN_VALUE_MAX], value[XEN_VALUE_MAX];
    unsigned          i, kind;

    snprintf(version, sizeof(version), "%u", XSHM_ABI_VERSION);
    for (i = 0; i < 4 * XEN_ROUNDS; ++i) {
        kind = i % HOSTILE_ARRAY_SIZE(values);
        xen_set_name(&channel, victim);
        value[0] = '\0';
        if (values[kind].is_ours) {
            strcpy(value, version);
        }
        strcat(value, values[kind].rest);
        xen_write(domid, channel.name, value);
    }
    hostile_knock(victim);
    xen_remove(domid, "");
    hostile_say("%u nodes, and a whole request", i);
}

static void xen_names(const hostile_address_t *victim)
{
    static const char *ends[]  = {"",
                                  "0",
                                  "-",
                                  "_____________________________",
                                  "a@b",
                                  "a/b",
                                  "0000000000000000000"};
    uint32_t           domid   = xen_domid(victim);
    hostile_channel_t  channel = {.domid = domid};
    char               value[XEN_VALUE_MAX], name[XEN_PATH_MAX];
    unsigned           i, part;

    xen_value(value, &channel, victim, 2);
    for (i = 0; i < 2 * XEN_ROUNDS; ++i) {
        part = i % (2 * XEN_NAME_PART);
        xen_set_name(&channel, victim);
        snprintf(name, sizeof(name), "%.*s%s", (int)part + 1, channel.name,
                 ends[i % HOSTILE_ARRAY_SIZE(ends)]);
        xen_write(domid, name, value);
    }
    hostile_knock(victim);
    xen_remove(domid, "");
    hostile_say("%u names, and a whole request", i);
}

/* Pages that nobody has granted, or not any more */
static void xen_grefs(const hostile_address_t *victim)
{
    hostile_channel_t channel;
    unsigned          i;

    for (i = 0; i < XEN_ROUNDS; ++i) {
        memset(&channel, 0, sizeof(channel));
        xen_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
        switch (i % 3) {
        case 0:
            channel.gref = (uint32_t)hostile_random() | (1u << 30);
            break;
        case 1:
            channel.data->return_ref = UINT32_MAX - i;
            break;
        default:
            *(uint32_t *)((char *)channel.data + XSHM_ABI_PAGE_REF_OFFSET) =
                    (uint32_t)hostile_random();
            break;
        }
        hostile_expect_answer(&channel, victim, HOSTILE_INVALID);
    }
    hostile_say("%u requests were refused", i);
}

static void xen_num_pages(const hostile_address_t *victim)
{
    static const uint32_t counts[] = {0, 1, 3, 900};
    hostile_channel_t     channel;
    unsigned              i;

    for (i = 0; i < HOSTILE_ARRAY_SIZE(counts); ++i) {
        memset(&channel, 0, sizeof(channel));
        xen_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
        channel.data_size = (size_t)counts[i] * XSHM_ABI_PAGE_SIZE;
        xen_ask(&channel, victim);
        channel.data_size = XSHM_ABI_RING_OFFSET + XSHM_ABI_RING_MIN_SIZE;
        hostile_check(xen_answer(&channel, HOSTILE_PATIENCE) == HOSTILE_INVALID,
                      "a wrong number of pages is not refused");
        xen_end(&channel);
    }
    hostile_say("%u requests were refused", i);
}

typedef struct {
    volatile uint32_t *refs;
    volatile int       is_done;
} xen_writer_t;

static void *xen_writer_main(void *arg)
{
    xen_writer_t *writer = arg;
    uint32_t      right  = *writer->refs;

    while (!writer->is_done) {
        *writer->refs = (uint32_t)hostile_random() % 1024;
        *writer->refs = right;
    }
    return NULL;
}

/* References that change while they are read */
static void xen_moving_refs(const hostile_address_t *victim)
{
    unsigned          accepted = 0, i;
    hostile_channel_t channel;
    xen_writer_t      writer;
    pthread_t         thread;

    for (i = 0; i < XEN_ROUNDS; ++i) {
        memset(&channel, 0, sizeof(channel));
        xen_alloc(&channel, victim, XSHM_ABI_RING_MIN_SIZE);
        writer.is_done = 0;
        writer.refs    = (volatile uint32_t *)((char *)channel.data +
                                            XSHM_ABI_PAGE_REF_OFFSET);
        hostile_check(pthread_create(&thread, NULL, xen_writer_main, &writer) ==
                              0,
                      "pthread_create");
        xen_ask(&channel, victim);
        accepted += xen_answer(&channel, HOSTILE_PATIENCE) == HOSTILE_ACCEPTED;
        writer.is_done = 1;
        pthread_join(thread, NULL);
        xen_end(&channel);
    }
    hostile_say("%u of %u were accepted", accepted, i);
}

/* The same node again, while the channel is there and after it */
static void xen_replay(const hostile_address_t *victim)
{
    hostile_channel_t channel;
    uint32_t          gref;
    unsigned          i;

    for (i = 0; i < XEN_ROUNDS; ++i) {
        hostile_open(&channel, victim);
        xen_ask(&channel, victim);
        xen_remove(channel.domid, channel.name);
        xen_ask(&channel, victim);
        hostile_sleep_ms(XEN_POLL_MS);
        if (xen_is_ended(&channel)) {
            hostile_fail("a replayed request has ended its channel");
        }
        gref = channel.gref;
        xen_end(&channel);
        channel.gref = gref;
        xen_ask(&channel, victim);
        hostile_sleep_ms(XEN_POLL_MS);
        xen_remove(channel.domid, channel.name);
    }
    hostile_knock(victim);
    hostile_say("%u channels", i);
}

/* Requests with wrong tokens that stay. @return By the victim's refusals. */
static void xen_refusals(const hostile_address_t *victim)
{
    hostile_address_t address = *victim;
    uint32_t          domid   = xen_domid(victim);
    static char       names[4 * XEN_ROUNDS][HOSTILE_NAME_MAX];
    hostile_channel_t channel = {.domid = domid, .data_size = 8192};
    unsigned          refused = 0, i;
    char             *value;

    address.iface.token[0] ^= 1;
    for (i = 0; i < 4 * XEN_ROUNDS; ++i) {
        xen_set_name(&channel, victim);
        memcpy(names[i], channel.name, sizeof(names[i]));
        xen_ask(&channel, &address);
    }
    hostile_sleep_ms(2000);
    for (i = 0; i < 4 * XEN_ROUNDS; ++i) {
        value = xen_read(domid, 'r', names[i]);
        refused += value != NULL;
        free(value);
        xen_remove(domid, names[i]);
    }
    if ((refused == 0) || (refused > 16)) {
        hostile_fail("%u refusals stand at a time", refused);
    }
    hostile_say("%u refusals stood for %u requests", refused, i);
}

static void xen_want_port(hostile_channel_t *channel)
{
    xshm_abi_wake_t *line = &channel->data->wake;
    int port = xenevtchn_bind_unbound_port(xen.evtchn, channel->domid);

    hostile_check(port >= 0, "a port");
    line->port = (uint32_t)port;
    __atomic_store_n(&line->wants, 1, __ATOMIC_RELEASE);
}

/* Several at once: a folder of xenstore has no room for the names of all */
static void xen_open_with_ports(hostile_channel_t       *channels,
                                const hostile_address_t *victim)
{
    unsigned i;

    for (i = 0; i < XEN_PORTS_AT_ONCE; ++i) {
        xen_alloc(&channels[i], victim, XSHM_ABI_RING_MIN_SIZE);
        xen_ask(&channels[i], victim);
    }
    for (i = 0; i < XEN_PORTS_AT_ONCE; ++i) {
        hostile_check(xen_answer(&channels[i], HOSTILE_PATIENCE) ==
                              HOSTILE_ACCEPTED,
                      "a channel is not accepted");
        xen_remove(channels[i].domid, channels[i].name);
        xen_want_port(&channels[i]);
    }
}

/* Each channel wants to be woken by a port of its own. They stay open: somebody
 * else counts the victim's ports then. */
static void xen_ports(const hostile_address_t *victim)
{
    static hostile_channel_t channels[XEN_NUM_PORTS];
    unsigned                 i;

    for (i = 0; i < XEN_NUM_PORTS; i += XEN_PORTS_AT_ONCE) {
        xen_open_with_ports(channels + i, victim);
    }
    hostile_say("%u ports", i);
}

typedef struct {
    uint32_t    domid; /* The victim's */
    char        names[XEN_FLOOD_NAMES][HOSTILE_NAME_MAX];
    unsigned    count; /* Changes */
    const char *identity;
    unsigned    identity_length;
} xen_flood_t;

/* Rights that are set anew are a change, too; and so is who we are, if it is
 * written again */
static void xen_flood_once(xen_flood_t *flood, struct xs_handle *xs)
{
    struct xs_permissions perms[2] = {{.id = xen.domid, .perms = XS_PERM_NONE},
                                      {.id    = flood->domid,
                                       .perms = XS_PERM_READ}};
    char                  path[XEN_PATH_MAX];
    unsigned              i;

    (void)xs_write(xs, XBT_NULL, XEN_ID_PATH, flood->identity,
                   flood->identity_length);
    for (i = 0; i < XEN_FLOOD_NAMES; ++i) {
        xen_path(path, 'c', flood->domid, flood->names[i]);
        (void)xs_write(xs, XBT_NULL, path, "1", 1);
        (void)xs_set_permissions(xs, XBT_NULL, path, perms, 2);
    }
    (void)xs_rm(xs, XBT_NULL, path);
    flood->count += (2 * XEN_FLOOD_NAMES) + 2;
}

/* By a connection of its own: each waits for xenstored's answers */
static void *xen_flood_main(void *arg)
{
    double            deadline = hostile_now() + XEN_FLOOD_SECONDS;
    struct xs_handle *xs       = xs_open(0);

    hostile_check(xs != NULL, "another connection to xenstore");
    while (hostile_now() < deadline) {
        xen_flood_once(arg, xs);
    }
    xs_close(xs);
    return NULL;
}

static void
xen_flood_prepare(xen_flood_t *flood, const hostile_address_t *victim)
{
    hostile_channel_t channel;
    unsigned          i;

    flood->domid = xen_domid(victim);
    flood->count = 0;
    flood->identity =
            xs_read(xen.xs, XBT_NULL, XEN_ID_PATH, &flood->identity_length);
    hostile_check(flood->identity != NULL, "this machine's identity");
    for (i = 0; i < XEN_FLOOD_NAMES; ++i) {
        xen_set_name(&channel, victim);
        memcpy(flood->names[i], channel.name, sizeof(flood->names[i]));
    }
}

/* Nodes for the victim change without end, beside a channel that has nothing to do
 * with it. A whole request is answered soon after: the victim has not put off each
 * of the changes. */
static void xen_flood(const hostile_address_t *victim)
{
    static xen_flood_t floods[XEN_FLOOD_THREADS];
    pthread_t          threads[XEN_FLOOD_THREADS];
    unsigned           count   = 0, i;
    hostile_channel_t  channel = {.domid = xen_domid(victim)};
    double             start;

    if (!hostile_is_stranger) {
        hostile_open(&channel, victim);
        xen_remove(channel.domid, channel.name);
    }
    for (i = 0; i < XEN_FLOOD_THREADS; ++i) {
        xen_flood_prepare(&floods[i], victim);
        hostile_check(pthread_create(&threads[i], NULL, xen_flood_main,
                                     &floods[i]) == 0,
                      "pthread_create");
    }
    for (i = 0; i < XEN_FLOOD_THREADS; ++i) {
        pthread_join(threads[i], NULL);
        count += floods[i].count;
    }
    start = hostile_now();
    hostile_knock(victim);
    start = hostile_now() - start;
    if (!hostile_is_stranger) {
        hostile_check(!xen_is_ended(&channel), "the flood has ended a channel");
        xen_end(&channel);
    }
    xen_remove(channel.domid, "");
    hostile_say("%u changes, and a whole request answered %.1f s after them",
                count, start);
}

const hostile_attack_t hostile_xen_attacks[] = {{"values", xen_values},
                                                {"names", xen_names},
                                                {"grefs", xen_grefs},
                                                {"num-pages", xen_num_pages},
                                                {"moving-refs",
                                                 xen_moving_refs},
                                                {"replay", xen_replay},
                                                {"refusals", xen_refusals},
                                                {"ports", xen_ports},
                                                {"flood", xen_flood},
                                                {NULL, NULL}};
