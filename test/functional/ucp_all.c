/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ucp_all: everything that UCP offers, between two processes (or more), with
 * every byte checked.
 *
 *   ucp_all TEST      one of the tests listed at the end of this file
 *   ucp_all list      their names, one a line, with the number of processes
 *
 * What carries the data is told by UCX_TLS.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <ucp/api/ucp.h>

#define ALL_PATIENCE     60.0 /* Seconds until a test is taken to hang */
#define ALL_KIB          1024UL
#define ALL_MAX_SIZE     (4 * 1024 * ALL_KIB)
#define ALL_FLIGHT       64 /* Requests at a time */
#define ALL_EPS          5  /* Endpoints between the same two workers */
#define ALL_WORKERS      3  /* Workers a process */
#define ALL_HUB_CHILDREN 4
#define ALL_HUB_WORKERS  56 /* Workers in each child: 224 peers */
#define ALL_HUB_PEERS    (ALL_HUB_CHILDREN * ALL_HUB_WORKERS)
#define ALL_HUB_ROUNDS   3
#define ALL_HUB_SIZE     600
#define ALL_ADDRESS_MAX  2048
#define ALL_WAKE_ROUNDS  100
#define ALL_WAKE_MAX_US  2000
#define ALL_KILL_ROUNDS  100
#define ALL_KILL_SIZE    20000
#define ALL_KILL_LIFE    0.05 /* Seconds after its first message, at most */
#define ALL_AM_ID        7
#define ALL_TAG_FULL     UINT64_MAX

#define ALL_STEP      0x9e3779b97f4a7c15UL
#define ALL_MIX       0xbf58476d1ce4e5b9UL
#define ALL_MIX_SHIFT 30

#define ALL_CHECK(_cond, ...) \
    do { \
        if (!(_cond)) { \
            all_fail(__LINE__, __VA_ARGS__); \
        } \
    } while (0)

/* One of two processes */
typedef struct {
    int           role; /* 0 or 1 */
    int           sock; /* To the other one */
    pid_t         pid;  /* Of the child, if this is the parent */
    ucp_context_h context;
    ucp_worker_h  worker;
    ucp_ep_h      ep;
} all_t;

typedef struct {
    const char *name;
    int         processes;
    uint64_t    features;
    void (*run)(all_t *all);
    void (*child)(all_t *all, int number); /* NULL: the same again */
} all_test_t;

static const size_t all_sizes[] = {0,       1,           7,     8,     63,
                                   64,      65,          100,   200,   1000,
                                   1024,    4096,        8000,  8192,  8256,
                                   8300,    20000,       65536, 70000, 262144,
                                   1048576, ALL_MAX_SIZE};

#define ALL_NUM_SIZES (sizeof(all_sizes) / sizeof(all_sizes[0]))

static int all_role = -1;

static void all_fail(int line, const char *fmt, ...)
        __attribute__((noreturn, format(printf, 2, 3)));

static void all_fail(int line, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "ucp_all.c:%d: process %d: failed: ", line, all_role);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static double all_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static void *all_alloc(size_t length)
{
    void *buffer = malloc(length + 1);

    ALL_CHECK(buffer != NULL, "no memory for %zu bytes", length);
    return buffer;
}

static uint64_t all_random(uint64_t *state)
{
    uint64_t value;

    *state += ALL_STEP;
    value = *state;
    value = (value ^ (value >> ALL_MIX_SHIFT)) * ALL_MIX;
    return value ^ (value >> ALL_MIX_SHIFT);
}

static uint64_t all_seed(uint64_t a, uint64_t b)
{
    uint64_t state = a;

    state = all_random(&state) ^ b;
    return all_random(&state);
}

static void all_fill(void *buffer, size_t length, uint64_t seed)
{
    uint8_t *bytes  = buffer;
    size_t   offset = 0;
    uint64_t word;
    size_t   part;

    while (offset < length) {
        word = all_random(&seed);
        part = (length - offset < sizeof(word)) ? length - offset :
                                                  sizeof(word);
        memcpy(bytes + offset, &word, part);
        offset += part;
    }
}

static void
all_compare(const void *buffer, size_t length, uint64_t seed, const char *what)
{
    const uint8_t *bytes  = buffer;
    size_t         offset = 0;
    uint64_t       word;
    size_t         part;

    while (offset < length) {
        word = all_random(&seed);
        part = (length - offset < sizeof(word)) ? length - offset :
                                                  sizeof(word);
        ALL_CHECK(memcmp(bytes + offset, &word, part) == 0,
                  "%s: wrong data near byte %zu of %zu", what, offset, length);
        offset += part;
    }
}

static void all_progress(all_t *all)
{
    if ((all->worker == NULL) || (ucp_worker_progress(all->worker) == 0)) {
        sched_yield();
    }
}

/* Takes what a "nbx" function has returned */
static ucs_status_t all_wait_status(all_t *all, void *request)
{
    double       deadline = all_now() + ALL_PATIENCE;
    ucs_status_t status;

    if (!UCS_PTR_IS_PTR(request)) {
        return UCS_PTR_STATUS(request);
    }
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS) {
        ALL_CHECK(all_now() < deadline, "a request is not done after %g s",
                  ALL_PATIENCE);
        all_progress(all);
    }
    ucp_request_free(request);
    return status;
}

static void all_wait(all_t *all, void *request, const char *what)
{
    ucs_status_t status = all_wait_status(all, request);

    ALL_CHECK(status == UCS_OK, "%s: %s", what, ucs_status_string(status));
}

static void all_write(int sock, const void *data, size_t length)
{
    ALL_CHECK(send(sock, data, length, MSG_NOSIGNAL) == (ssize_t)length,
              "cannot tell the other process: %s", strerror(errno));
}

/* Wait for the other process, and go on with the communication meanwhile */
static void all_read(all_t *all, int sock, void *data, size_t length)
{
    double  deadline = all_now() + ALL_PATIENCE;
    size_t  done     = 0;
    ssize_t part;

    while (done < length) {
        part = recv(sock, (char *)data + done, length - done, MSG_DONTWAIT);
        if (part > 0) {
            done += part;
            continue;
        }
        ALL_CHECK((part < 0) && ((errno == EAGAIN) || (errno == EINTR)),
                  "the other process is gone");
        ALL_CHECK(all_now() < deadline, "the other process is silent");
        all_progress(all);
    }
}

static void all_barrier(all_t *all)
{
    char byte = 0;

    all_write(all->sock, &byte, sizeof(byte));
    all_read(all, all->sock, &byte, sizeof(byte));
}

static void all_context_open(all_t *all, uint64_t features)
{
    ucp_params_t  params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                            .features   = features};
    ucp_config_t *config;
    ucs_status_t  status;

    status = ucp_config_read(NULL, NULL, &config);
    ALL_CHECK(status == UCS_OK, "ucp_config_read: %s",
              ucs_status_string(status));
    status = ucp_init(&params, config, &all->context);
    ALL_CHECK(status == UCS_OK, "ucp_init: %s", ucs_status_string(status));
    ucp_config_release(config);
}

static ucp_worker_h all_worker_open(all_t *all)
{
    ucp_worker_params_t params = {.field_mask =
                                          UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucp_worker_h        worker;
    ucs_status_t        status;

    status = ucp_worker_create(all->context, &params, &worker);
    ALL_CHECK(status == UCS_OK, "ucp_worker_create: %s",
              ucs_status_string(status));
    return worker;
}

static void all_address_write(ucp_worker_h worker, int sock)
{
    ucp_address_t *address;
    ucs_status_t   status;
    size_t         length;

    status = ucp_worker_get_address(worker, &address, &length);
    ALL_CHECK(status == UCS_OK, "ucp_worker_get_address: %s",
              ucs_status_string(status));
    all_write(sock, &length, sizeof(length));
    all_write(sock, address, length);
    ucp_worker_release_address(worker, address);
}

static void all_ep_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    *(ucs_status_t *)arg = status;
}

/* With @a failed_p the endpoint handles errors, and writes them there */
static ucp_ep_h
all_connect(ucp_worker_h worker, const void *address, ucs_status_t *failed_p)
{
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                              .address    = address};
    ucs_status_t    status;
    ucp_ep_h        ep;

    if (failed_p != NULL) {
        params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                             UCP_EP_PARAM_FIELD_ERR_HANDLER;
        params.err_mode        = UCP_ERR_HANDLING_MODE_PEER;
        params.err_handler.cb  = all_ep_failed;
        params.err_handler.arg = failed_p;
    }
    status = ucp_ep_create(worker, &params, &ep);
    ALL_CHECK(status == UCS_OK, "ucp_ep_create: %s", ucs_status_string(status));
    return ep;
}

static ucp_ep_h all_connect_by(all_t *all, ucp_worker_h worker, int sock,
                               ucs_status_t *failed_p)
{
    size_t   length;
    void    *address;
    ucp_ep_h ep;

    all_read(all, sock, &length, sizeof(length));
    address = all_alloc(length);
    all_read(all, sock, address, length);
    ep = all_connect(worker, address, failed_p);
    free(address);
    return ep;
}

static void all_disconnect(all_t *all, ucp_ep_h ep, unsigned flags)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                 .flags        = flags};

    all_wait_status(all, ucp_ep_close_nbx(ep, &param));
}

static void *
all_tag_send(ucp_ep_h ep, const void *data, size_t length, ucp_tag_t tag)
{
    ucp_request_param_t param = {0};

    return ucp_tag_send_nbx(ep, data, length, tag, &param);
}

static void *all_tag_receive(ucp_worker_h worker, void *data, size_t length,
                             ucp_tag_t tag, ucp_tag_t mask)
{
    ucp_request_param_t param = {0};

    return ucp_tag_recv_nbx(worker, data, length, tag, mask, &param);
}

/* Both send and receive at the same time, posted in the given order */
static void all_tag_exchange(all_t *all, size_t size, int late, int sync)
{
    char               *out   = all_alloc(size);
    char               *in    = all_alloc(size);
    ucp_request_param_t param = {0};
    void               *send, *receive = NULL;

    all_fill(out, size, all_seed(all->role, size));
    memset(in, 0, size);
    if (!late) {
        receive = all_tag_receive(all->worker, in, size, size, ALL_TAG_FULL);
    }
    send = sync ? ucp_tag_send_sync_nbx(all->ep, out, size, size, &param) :
                  all_tag_send(all->ep, out, size, size);
    if (late) {
        all_barrier(all);
        receive = all_tag_receive(all->worker, in, size, size, ALL_TAG_FULL);
    }
    all_wait(all, receive, "receive");
    all_wait(all, send, "send");
    all_compare(in, size, all_seed(!all->role, size), "tag");
    free(in);
    free(out);
}

static void all_test_tag(all_t *all)
{
    size_t i;

    for (i = 0; i < ALL_NUM_SIZES; ++i) {
        all_tag_exchange(all, all_sizes[i], 0, 0);
        all_tag_exchange(all, all_sizes[i], 1, 0);
        all_tag_exchange(all, all_sizes[i], 0, 1);
        all_tag_exchange(all, all_sizes[i], 1, 1);
    }
}

static size_t all_flight_size(int role, int index)
{
    size_t number = all_seed(role, index);

    return (number % 4 == 0) ? number % 100000 : number % 300;
}

/* Many at once; received in reverse order, some by a wildcard */
static void all_test_tag_flight(all_t *all)
{
    void  *sends[ALL_FLIGHT], *receives[ALL_FLIGHT];
    char  *out[ALL_FLIGHT], *in[ALL_FLIGHT];
    size_t size;
    int    i;

    for (i = 0; i < ALL_FLIGHT; ++i) {
        size   = all_flight_size(all->role, i);
        out[i] = all_alloc(size);
        all_fill(out[i], size, all_seed(size, i));
        sends[i] = all_tag_send(all->ep, out[i], size, i);
    }
    for (i = ALL_FLIGHT - 1; i >= 0; --i) {
        size        = all_flight_size(!all->role, i);
        in[i]       = all_alloc(size);
        receives[i] = all_tag_receive(all->worker, in[i], size,
                                      (i > 0) ? i : ALL_FLIGHT,
                                      (i > 0) ? ALL_TAG_FULL : 0);
    }
    for (i = 0; i < ALL_FLIGHT; ++i) {
        all_wait(all, receives[i], "receive");
        all_wait(all, sends[i], "send");
        size = all_flight_size(!all->role, i);
        all_compare(in[i], size, all_seed(size, i), "tag, many at once");
        free(in[i]);
        free(out[i]);
    }
}

/* A message in three pieces of memory arrives in two other ones */
static void all_tag_iov(all_t *all, size_t size)
{
    char               *out       = all_alloc(size);
    char               *in        = all_alloc(size);
    ucp_request_param_t param     = {.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE,
                                     .datatype     = ucp_dt_make_iov()};
    ucp_dt_iov_t        out_iov[] = {{out, size / 5},
                                     {out + size / 5, size / 2},
                                     {out + size / 5 + size / 2,
                                      size - size / 5 - size / 2}};
    ucp_dt_iov_t in_iov[] = {{in, size / 3}, {in + size / 3, size - size / 3}};
    void        *send, *receive;

    all_fill(out, size, all_seed(all->role, size));
    receive = ucp_tag_recv_nbx(all->worker, in_iov, 2, size, ALL_TAG_FULL,
                               &param);
    send    = ucp_tag_send_nbx(all->ep, out_iov, 3, size, &param);
    all_wait(all, receive, "receive");
    all_wait(all, send, "send");
    all_compare(in, size, all_seed(!all->role, size), "tag, in pieces");
    free(in);
    free(out);
}

static void all_test_tag_iov(all_t *all)
{
    size_t i;

    for (i = 0; i < ALL_NUM_SIZES; ++i) {
        all_tag_iov(all, all_sizes[i]);
    }
}

static void all_test_stream(all_t *all)
{
    ucp_request_param_t send_param    = {0};
    ucp_request_param_t receive_param = {.op_attr_mask =
                                                 UCP_OP_ATTR_FIELD_FLAGS,
                                         .flags = UCP_STREAM_RECV_FLAG_WAITALL};
    void               *send, *receive;
    char               *out, *in;
    size_t              size, length, i;

    for (i = 0; i < ALL_NUM_SIZES; ++i) {
        size = all_sizes[i];
        if (size == 0) {
            continue;
        }
        out = all_alloc(size);
        in  = all_alloc(size);
        all_fill(out, size, all_seed(all->role, size));
        send = ucp_stream_send_nbx(all->ep, out, size, &send_param);
        receive =
                ucp_stream_recv_nbx(all->ep, in, size, &length, &receive_param);
        all_wait(all, receive, "receive");
        all_wait(all, send, "send");
        all_compare(in, size, all_seed(!all->role, size), "stream");
        free(in);
        free(out);
    }
}

/* What the handler of active messages knows */
typedef struct {
    all_t *all;
    int    received;
    int    rendezvous;
    size_t length;
    char  *data; /* Our copy, or memory for the rendezvous */
    void  *kept; /* UCX's own memory, which we keep for a while */
    void  *request;
} all_am_t;

static ucs_status_t
all_am_received(void *arg, const void *header, size_t header_length, void *data,
                size_t length, const ucp_am_recv_param_t *param)
{
    all_am_t           *am            = arg;
    ucp_request_param_t receive_param = {0};

    ALL_CHECK(header_length == sizeof(uint64_t), "a header of %zu bytes",
              header_length);
    ALL_CHECK(*(const uint64_t *)header == length,
              "header %" PRIu64 " of %zu bytes", *(const uint64_t *)header,
              length);
    am->length = length;
    ++am->received;
    if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) {
        ++am->rendezvous;
        am->request = ucp_am_recv_data_nbx(am->all->worker, data, am->data,
                                           length, &receive_param);
        return UCS_OK;
    }
    if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) {
        am->kept = data;
        return UCS_INPROGRESS;
    }
    memcpy(am->data, data, length);
    return UCS_OK;
}

static void
all_am_exchange(all_t *all, all_am_t *am, size_t size, uint32_t flags)
{
    char               *out    = all_alloc(size);
    uint64_t            header = size;
    ucp_request_param_t param  = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                  .flags        = flags};
    int                 before = am->received;
    void               *send;

    all_fill(out, size, all_seed(all->role, size));
    am->request = NULL;
    am->kept    = NULL;
    all_barrier(all);
    send = ucp_am_send_nbx(all->ep, ALL_AM_ID, &header, sizeof(header), out,
                           size, &param);
    while (am->received == before) {
        all_progress(all);
    }
    all_wait(all, am->request, "receive");
    all_wait(all, send, "send");
    all_compare((am->kept != NULL) ? am->kept : am->data, size,
                all_seed(!all->role, size), "active message");
    if (am->kept != NULL) {
        ucp_am_data_release(all->worker, am->kept);
    }
    /* The next message may come only when we are ready to keep it */
    all_barrier(all);
    free(out);
}

static void all_test_am(all_t *all)
{
    all_am_t               am        = {.all = all};
    ucp_am_handler_param_t parameter = {
            .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                          UCP_AM_HANDLER_PARAM_FIELD_CB |
                          UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                          UCP_AM_HANDLER_PARAM_FIELD_ARG,
            .id    = ALL_AM_ID,
            .cb    = all_am_received,
            .flags = UCP_AM_FLAG_PERSISTENT_DATA,
            .arg   = &am};
    ucs_status_t status;
    size_t       i;

    am.data = all_alloc(ALL_MAX_SIZE);
    status  = ucp_worker_set_am_recv_handler(all->worker, &parameter);
    ALL_CHECK(status == UCS_OK, "ucp_worker_set_am_recv_handler: %s",
              ucs_status_string(status));
    for (i = 0; i < ALL_NUM_SIZES; ++i) {
        all_am_exchange(all, &am, all_sizes[i], 0);
        all_am_exchange(all, &am, all_sizes[i], UCP_AM_SEND_FLAG_EAGER);
        all_am_exchange(all, &am, all_sizes[i], UCP_AM_SEND_FLAG_RNDV);
    }
    ALL_CHECK(am.rendezvous >= (int)ALL_NUM_SIZES - 1, "only %d rendezvous",
              am.rendezvous);
    free(am.data);
}

/* Memory that the other process may reach, and its memory */
typedef struct {
    char      *base;
    size_t     length;
    ucp_mem_h  memh;
    uint64_t   remote;
    ucp_rkey_h rkey;
} all_memory_t;

static void
all_memory_open(all_t *all, all_memory_t *memory, size_t length, int allocate)
{
    ucp_mem_map_params_t params = {
            .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                          UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                          UCP_MEM_MAP_PARAM_FIELD_FLAGS,
            .address = allocate ? NULL : all_alloc(length),
            .length  = length,
            .flags   = allocate ? UCP_MEM_MAP_ALLOCATE : 0};
    ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    size_t         packed_length;
    uint64_t       address;
    ucs_status_t   status;
    void          *packed;

    status = ucp_mem_map(all->context, &params, &memory->memh);
    ALL_CHECK(status == UCS_OK, "ucp_mem_map: %s", ucs_status_string(status));
    ucp_mem_query(memory->memh, &attr);
    memory->base   = attr.address;
    memory->length = length;
    memset(memory->base, 0, length);

    status = ucp_rkey_pack(all->context, memory->memh, &packed, &packed_length);
    ALL_CHECK(status == UCS_OK, "ucp_rkey_pack: %s", ucs_status_string(status));
    address = (uintptr_t)memory->base;
    all_write(all->sock, &address, sizeof(address));
    all_write(all->sock, &packed_length, sizeof(packed_length));
    all_write(all->sock, packed, packed_length);
    ucp_rkey_buffer_release(packed);

    all_read(all, all->sock, &memory->remote, sizeof(memory->remote));
    all_read(all, all->sock, &packed_length, sizeof(packed_length));
    packed = all_alloc(packed_length);
    all_read(all, all->sock, packed, packed_length);
    status = ucp_ep_rkey_unpack(all->ep, packed, &memory->rkey);
    ALL_CHECK(status == UCS_OK, "ucp_ep_rkey_unpack: %s",
              ucs_status_string(status));
    free(packed);
}

static void all_memory_close(all_t *all, all_memory_t *memory, int allocated)
{
    all_barrier(all);
    ucp_rkey_destroy(memory->rkey);
    ucp_mem_unmap(all->context, memory->memh);
    if (!allocated) {
        free(memory->base);
    }
}

static void all_flush(all_t *all)
{
    ucp_request_param_t param = {0};

    all_wait(all, ucp_ep_flush_nbx(all->ep, &param), "flush");
}

static void all_put_get(all_t *all, all_memory_t *memory, size_t size)
{
    ucp_request_param_t param  = {0};
    char               *buffer = all_alloc(size);

    all_fill(buffer, size, all_seed(all->role, size));
    all_wait(all,
             ucp_put_nbx(all->ep, buffer, size, memory->remote, memory->rkey,
                         &param),
             "put");
    all_flush(all);
    all_barrier(all);
    all_compare(memory->base, size, all_seed(!all->role, size), "put");

    memset(buffer, 0, size);
    all_wait(all,
             ucp_get_nbx(all->ep, buffer, size, memory->remote, memory->rkey,
                         &param),
             "get");
    all_compare(buffer, size, all_seed(all->role, size), "get");
    all_barrier(all);
    free(buffer);
}

static void all_rma(all_t *all, int allocate)
{
    all_memory_t memory;
    size_t       i;

    all_memory_open(all, &memory, ALL_MAX_SIZE, allocate);
    for (i = 0; i < ALL_NUM_SIZES; ++i) {
        if (all_sizes[i] > 0) {
            all_put_get(all, &memory, all_sizes[i]);
        }
    }
    all_memory_close(all, &memory, allocate);
}

static void all_test_rma(all_t *all)
{
    all_rma(all, 0);
    all_rma(all, 1);
}

/* One atomic operation on one remote number; returns what was there before */
static uint64_t all_atomic(all_t *all, all_memory_t *memory, ucp_atomic_op_t op,
                           uint64_t operand, uint64_t reply, size_t size,
                           int fetch)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE,
                                 .datatype     = ucp_dt_make_contig(size)};

    if (fetch) {
        param.op_attr_mask |= UCP_OP_ATTR_FIELD_REPLY_BUFFER;
        param.reply_buffer = &reply;
    }
    all_wait(all,
             ucp_atomic_op_nbx(all->ep, op, &operand, 1, memory->remote,
                               memory->rkey, &param),
             "atomic");
    all_flush(all);
    return reply;
}

static uint64_t all_peek(all_t *all, all_memory_t *memory, size_t size)
{
    ucp_request_param_t param = {0};
    uint64_t            value = 0;

    all_wait(all,
             ucp_get_nbx(all->ep, &value, size, memory->remote, memory->rkey,
                         &param),
             "get");
    return value;
}

static void all_atomic_one(all_t *all, all_memory_t *memory, ucp_atomic_op_t op,
                           uint64_t operand, size_t size, uint64_t expected)
{
    uint64_t before = all_peek(all, memory, size);
    uint64_t old;

    old = all_atomic(all, memory, op, operand, 0, size, 1);
    ALL_CHECK(old == before,
              "operation %d fetched 0x%" PRIx64 ", not 0x%" PRIx64, op, old,
              before);
    ALL_CHECK(all_peek(all, memory, size) == expected,
              "operation %d on %zu bytes left 0x%" PRIx64 ", not 0x%" PRIx64,
              op, size, all_peek(all, memory, size), expected);
}

static void all_atomics(all_t *all, size_t size, int allocate)
{
    static const uint64_t start = 0x12345678;
    all_memory_t          memory;
    uint64_t              old, sum;
    int                   i;

    all_memory_open(all, &memory, 64 * ALL_KIB, allocate);
    all_atomic_one(all, &memory, UCP_ATOMIC_OP_SWAP, start, size, start);
    all_atomic_one(all, &memory, UCP_ATOMIC_OP_ADD, 5, size, start + 5);
    all_atomic_one(all, &memory, UCP_ATOMIC_OP_AND, 0xff00, size,
                   (start + 5) & 0xff00);
    all_atomic_one(all, &memory, UCP_ATOMIC_OP_OR, 0x0f, size,
                   ((start + 5) & 0xff00) | 0x0f);
    all_atomic_one(all, &memory, UCP_ATOMIC_OP_XOR, 0xff, size,
                   (((start + 5) & 0xff00) | 0x0f) ^ 0xff);
    all_atomic_one(all, &memory, UCP_ATOMIC_OP_SWAP, 100, size, 100);
    old = all_atomic(all, &memory, UCP_ATOMIC_OP_CSWAP, 100, 7, size, 1);
    ALL_CHECK((old == 100) && (all_peek(all, &memory, size) == 7),
              "cswap of %zu bytes fetched %" PRIu64, size, old);
    old = all_atomic(all, &memory, UCP_ATOMIC_OP_CSWAP, 100, 8, size, 1);
    ALL_CHECK((old == 7) && (all_peek(all, &memory, size) == 7),
              "cswap of %zu bytes must not swap; fetched %" PRIu64, size, old);
    sum = 7;
    for (i = 0; i < 100; ++i) {
        all_atomic(all, &memory, UCP_ATOMIC_OP_ADD, i, 0, size, 0);
        sum += i;
    }
    ALL_CHECK(all_peek(all, &memory, size) == sum,
              "100 sums give %" PRIu64 ", not %" PRIu64,
              all_peek(all, &memory, size), sum);
    all_memory_close(all, &memory, allocate);
}

static void all_test_atomic(all_t *all)
{
    all_atomics(all, sizeof(uint64_t), 0);
    all_atomics(all, sizeof(uint32_t), 0);
    all_atomics(all, sizeof(uint64_t), 1);
    all_atomics(all, sizeof(uint32_t), 1);
}

static ucs_status_t all_flush_status(all_t *all)
{
    ucp_request_param_t param = {0};

    return all_wait_status(all, ucp_ep_flush_nbx(all->ep, &param));
}

static ucs_status_t all_worker_flush_status(all_t *all)
{
    ucp_request_param_t param = {0};

    return all_wait_status(all, ucp_worker_flush_nbx(all->worker, &param));
}

static ucs_status_t
all_try_put(all_t *all, const all_memory_t *memory, size_t size)
{
    ucp_request_param_t param  = {0};
    char               *buffer = all_alloc(size);
    ucs_status_t        status, flushed;

    memset(buffer, 0, size);
    status  = all_wait_status(all,
                              ucp_put_nbx(all->ep, buffer, size, memory->remote,
                                          memory->rkey, &param));
    flushed = all_flush_status(all);
    free(buffer);
    return (status == UCS_OK) ? flushed : status;
}

static ucs_status_t
all_try_get(all_t *all, const all_memory_t *memory, size_t size)
{
    ucp_request_param_t param  = {0};
    char               *buffer = all_alloc(size);
    ucs_status_t        status;

    status = all_wait_status(all,
                             ucp_get_nbx(all->ep, buffer, size, memory->remote,
                                         memory->rkey, &param));
    free(buffer);
    return status;
}

static ucs_status_t
all_try_atomic(all_t *all, const all_memory_t *memory, int fetch)
{
    uint64_t            operand = 1;
    uint64_t            reply   = 0;
    ucp_request_param_t param   = {.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE,
                                   .datatype =
                                           ucp_dt_make_contig(sizeof(operand))};
    ucs_status_t        status, flushed;

    if (fetch) {
        param.op_attr_mask |= UCP_OP_ATTR_FIELD_REPLY_BUFFER;
        param.reply_buffer = &reply;
    }
    status  = all_wait_status(all, ucp_atomic_op_nbx(all->ep, UCP_ATOMIC_OP_ADD,
                                                     &operand, 1, memory->remote,
                                                     memory->rkey, &param));
    flushed = all_flush_status(all);
    return (status == UCS_OK) ? flushed : status;
}

/* Of memory that the other process has unmapped before it was ever accessed:
 * each operation ends with an error, and the process goes on */
static void all_refused(all_t *all, int allocate)
{
    static const size_t sizes[] = {8, 1000, 20000, ALL_MAX_SIZE};
    all_memory_t        memory;
    ucs_status_t        status;
    size_t              i;

    all_memory_open(all, &memory, ALL_MAX_SIZE, allocate);
    all_barrier(all);
    ucp_mem_unmap(all->context, memory.memh);
    all_barrier(all);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        ALL_CHECK(all_try_put(all, &memory, sizes[i]) != UCS_OK,
                  "a put of %zu bytes was not refused", sizes[i]);
        ALL_CHECK(all_try_get(all, &memory, sizes[i]) != UCS_OK,
                  "a get of %zu bytes was not refused", sizes[i]);
    }
    for (i = 0; i < 2; ++i) {
        ALL_CHECK(all_try_atomic(all, &memory, i) != UCS_OK,
                  "an atomic operation was not refused");
    }
    /* All is done, so UCP asks the interface at once, and passes on what it
     * says: of short puts and posted atomics */
    status = all_worker_flush_status(all);
    ALL_CHECK(status != UCS_OK, "a flush of the worker tells no error");
    status = all_worker_flush_status(all);
    ALL_CHECK(status == UCS_OK, "a flush of the worker: %s",
              ucs_status_string(status));
    all_barrier(all);
    ucp_rkey_destroy(memory.rkey);
    if (!allocate) {
        free(memory.base);
    }
}

static void all_test_refused(all_t *all)
{
    all_refused(all, 0);
    all_refused(all, 1);
    /* What is mapped is accessed as before */
    all_rma(all, 1);
}

/* More endpoints between the same two workers, used in turn */
static void all_test_endpoints(all_t *all)
{
    ucp_ep_h first = all->ep;
    ucp_ep_h eps[ALL_EPS];
    size_t   size;
    int      i;

    for (i = 0; i < ALL_EPS; ++i) {
        all_address_write(all->worker, all->sock);
        eps[i] = all_connect_by(all, all->worker, all->sock, NULL);
    }
    for (size = 1; size <= 200000; size = size * 3 + 1) {
        for (i = 0; i < ALL_EPS; ++i) {
            all->ep = eps[i];
            all_tag_exchange(all, size, i % 2, 0);
        }
    }
    for (i = 0; i < ALL_EPS; ++i) {
        all_barrier(all);
        all_disconnect(all, eps[i], 0);
        /* The others go on when one of them is closed */
        all->ep = first;
        all_tag_exchange(all, 10000 + i, 0, 0);
    }
}

static void all_test_self(all_t *all)
{
    ucp_ep_h       first = all->ep;
    ucp_address_t *address;
    void          *send, *receive;
    char          *out, *in;
    size_t         length, size, i;

    ALL_CHECK(ucp_worker_get_address(all->worker, &address, &length) == UCS_OK,
              "ucp_worker_get_address");
    all->ep = all_connect(all->worker, address, NULL);
    ucp_worker_release_address(all->worker, address);
    for (i = 0; i < ALL_NUM_SIZES; ++i) {
        size = all_sizes[i];
        out  = all_alloc(size);
        in   = all_alloc(size);
        all_fill(out, size, all_seed(all->role, size));
        send    = all_tag_send(all->ep, out, size, size);
        receive = all_tag_receive(all->worker, in, size, size, ALL_TAG_FULL);
        all_wait(all, receive, "receive");
        all_wait(all, send, "send");
        all_compare(in, size, all_seed(all->role, size), "to oneself");
        free(in);
        free(out);
    }
    all_disconnect(all, all->ep, 0);
    all->ep = first;
}

/* Each worker of one process with each of the other one */
static void all_test_workers(all_t *all)
{
    all_t        sub = *all;
    ucp_worker_h workers[ALL_WORKERS];
    ucp_ep_h     eps[ALL_WORKERS][ALL_WORKERS];
    size_t       size;
    int          i, j;

    for (i = 0; i < ALL_WORKERS; ++i) {
        workers[i] = all_worker_open(all);
    }
    for (i = 0; i < ALL_WORKERS; ++i) {
        for (j = 0; j < ALL_WORKERS; ++j) {
            all_address_write(workers[all->role ? j : i], all->sock);
            eps[i][j] = all_connect_by(all, workers[all->role ? j : i],
                                       all->sock, NULL);
        }
    }
    for (size = 8; size <= 100000; size *= 20) {
        for (i = 0; i < ALL_WORKERS; ++i) {
            for (j = 0; j < ALL_WORKERS; ++j) {
                sub.worker = workers[all->role ? j : i];
                sub.ep     = eps[i][j];
                all_tag_exchange(&sub, size, 0, 0);
            }
        }
    }
    all_barrier(all);
    for (i = 0; i < ALL_WORKERS; ++i) {
        for (j = 0; j < ALL_WORKERS; ++j) {
            sub.worker = workers[all->role ? j : i];
            all_disconnect(&sub, eps[i][j], UCP_EP_CLOSE_FLAG_FORCE);
        }
    }
    for (i = 0; i < ALL_WORKERS; ++i) {
        ucp_worker_destroy(workers[i]);
    }
}

/* Sleep on the worker's descriptor until there is a message */
static void all_sleep_for(all_t *all, void *request)
{
    struct pollfd pollfd = {.events = POLLIN};
    ucs_status_t  status;

    status = ucp_worker_get_efd(all->worker, &pollfd.fd);
    ALL_CHECK(status == UCS_OK, "ucp_worker_get_efd: %s",
              ucs_status_string(status));
    while (UCS_PTR_IS_PTR(request) &&
           (ucp_request_check_status(request) == UCS_INPROGRESS)) {
        if (ucp_worker_progress(all->worker) != 0) {
            continue;
        }
        status = ucp_worker_arm(all->worker);
        if (status == UCS_ERR_BUSY) {
            continue;
        }
        ALL_CHECK(status == UCS_OK, "ucp_worker_arm: %s",
                  ucs_status_string(status));
        ALL_CHECK(poll(&pollfd, 1, (int)(ALL_PATIENCE * 1000)) == 1,
                  "nothing woke the worker in %g s", ALL_PATIENCE);
    }
    all_wait(all, request, "receive");
}

/* Process 0 sends after a random time, process 1 sleeps; then the reverse */
static void all_test_wakeup(all_t *all)
{
    uint64_t random = all->role;
    uint64_t value;
    void    *request;
    int      i;

    for (i = 0; i < ALL_WAKE_ROUNDS; ++i) {
        if (i % 2 == all->role) {
            usleep(all_random(&random) % ALL_WAKE_MAX_US);
            value = i;
            all_wait(all, all_tag_send(all->ep, &value, sizeof(value), i),
                     "send");
        } else {
            request = all_tag_receive(all->worker, &value, sizeof(value), i,
                                      ALL_TAG_FULL);
            all_sleep_for(all, request);
            ALL_CHECK(value == (uint64_t)i, "got %" PRIu64 ", not %d", value,
                      i);
        }
    }
}

/* One worker (the hub) with hundreds of peers in a few processes */
typedef struct {
    uint32_t number;
    uint32_t address_length;
    char     address[ALL_ADDRESS_MAX];
} all_hello_t;

static void
all_hub_receive(all_t *all, ucp_worker_h worker, uint64_t number, int round)
{
    ucp_worker_h saved = all->worker;
    char         in[ALL_HUB_SIZE];

    all->worker = worker;
    all_wait(all,
             all_tag_receive(worker, in, sizeof(in), number + 1, ALL_TAG_FULL),
             "receive");
    all_compare(in, sizeof(in), all_seed(number, round), "hub");
    all->worker = saved;
}

static void all_hub_send(all_t *all, ucp_worker_h worker, ucp_ep_h ep,
                         uint64_t number, int round)
{
    ucp_worker_h saved = all->worker;
    char         out[ALL_HUB_SIZE];

    all->worker = worker;
    all_fill(out, sizeof(out), all_seed(number, round));
    all_wait(all, all_tag_send(ep, out, sizeof(out), number + 1), "send");
    all->worker = saved;
}

/* In a child: many workers, each with an endpoint to the hub */
static void all_hub_child(all_t *all, const void *hub, int child)
{
    ucp_worker_h   workers[ALL_HUB_WORKERS];
    ucp_ep_h       eps[ALL_HUB_WORKERS];
    ucp_address_t *address;
    all_hello_t    hello;
    size_t         length;
    int            i, round;

    for (i = 0; i < ALL_HUB_WORKERS; ++i) {
        workers[i]   = all_worker_open(all);
        eps[i]       = all_connect(workers[i], hub, NULL);
        hello.number = child * ALL_HUB_WORKERS + i;
        ALL_CHECK((ucp_worker_get_address(workers[i], &address, &length) ==
                   UCS_OK) &&
                          (length <= ALL_ADDRESS_MAX),
                  "an address of %zu bytes", length);
        hello.address_length = length;
        memcpy(hello.address, address, length);
        ucp_worker_release_address(workers[i], address);
        all->worker = workers[i];
        all_wait(all, all_tag_send(eps[i], &hello, sizeof(hello), 0), "send");
    }
    for (round = 0; round < ALL_HUB_ROUNDS; ++round) {
        for (i = 0; i < ALL_HUB_WORKERS; ++i) {
            all_hub_receive(all, workers[i], child * ALL_HUB_WORKERS + i,
                            round);
            all_hub_send(all, workers[i], eps[i], child * ALL_HUB_WORKERS + i,
                         round);
        }
    }
    for (i = 0; i < ALL_HUB_WORKERS; ++i) {
        all->worker = workers[i];
        all_disconnect(all, eps[i], 0);
    }
    /* The hub may still have to send: it says when it is done */
    all->worker = workers[0];
    all_barrier(all);
    for (i = 0; i < ALL_HUB_WORKERS; ++i) {
        ucp_worker_destroy(workers[i]);
    }
}

/* The child is this program again, started as "ucp_all TEST SOCKET NUMBER": UCX
 * has opened its log already, and a mere fork would write to the same one */
static void all_start(all_t *child, const char *test, int number)
{
    char sock[16], text[16];
    int  socks[2];

    ALL_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, socks) == 0, "socketpair: %s",
              strerror(errno));
    fcntl(socks[0], F_SETFD, FD_CLOEXEC);
    snprintf(sock, sizeof(sock), "%d", socks[1]);
    snprintf(text, sizeof(text), "%d", number);
    child->pid = fork();
    ALL_CHECK(child->pid >= 0, "fork: %s", strerror(errno));
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "ucp_all", test, sock, text, NULL);
        _exit(EXIT_FAILURE);
    }
    close(socks[1]);
    child->sock = socks[0];
}

static void all_join(const all_t *child)
{
    int status = -1;

    waitpid(child->pid, &status, 0);
    ALL_CHECK(status == 0, "process %d ended with status 0x%x", (int)child->pid,
              status);
}

static void all_child_hub(all_t *child, int number)
{
    size_t length;
    void  *hub;

    all_context_open(child, UCP_FEATURE_TAG);
    all_read(child, child->sock, &length, sizeof(length));
    hub = all_alloc(length);
    all_read(child, child->sock, hub, length);
    all_hub_child(child, hub, number);
    free(hub);
    ucp_cleanup(child->context);
}

static void all_hub_serve(all_t *hub, ucp_ep_h *eps)
{
    all_hello_t hello;
    int         i, round;

    for (i = 0; i < ALL_HUB_PEERS; ++i) {
        all_wait(hub,
                 all_tag_receive(hub->worker, &hello, sizeof(hello), 0,
                                 ALL_TAG_FULL),
                 "receive");
        ALL_CHECK((hello.number < ALL_HUB_PEERS) && (eps[hello.number] == NULL),
                  "hello of %u", hello.number);
        eps[hello.number] = all_connect(hub->worker, hello.address, NULL);
    }
    for (round = 0; round < ALL_HUB_ROUNDS; ++round) {
        for (i = 0; i < ALL_HUB_PEERS; ++i) {
            all_hub_send(hub, hub->worker, eps[i], i, round);
        }
        for (i = 0; i < ALL_HUB_PEERS; ++i) {
            all_hub_receive(hub, hub->worker, i, round);
        }
    }
}

/* Not one of the tests of two processes: this one starts its own */
static void all_test_hub(all_t *hub)
{
    ucp_ep_h eps[ALL_HUB_PEERS] = {NULL};
    all_t    children[ALL_HUB_CHILDREN];
    int      i;

    for (i = 0; i < ALL_HUB_CHILDREN; ++i) {
        all_start(&children[i], "hub", i);
    }
    all_context_open(hub, UCP_FEATURE_TAG);
    hub->worker = all_worker_open(hub);
    for (i = 0; i < ALL_HUB_CHILDREN; ++i) {
        all_address_write(hub->worker, children[i].sock);
    }
    all_hub_serve(hub, eps);
    for (i = 0; i < ALL_HUB_PEERS; ++i) {
        all_disconnect(hub, eps[i], 0);
    }
    for (i = 0; i < ALL_HUB_CHILDREN; ++i) {
        hub->sock = children[i].sock;
        all_barrier(hub);
    }
    for (i = 0; i < ALL_HUB_CHILDREN; ++i) {
        all_join(&children[i]);
    }
    ucp_worker_destroy(hub->worker);
    ucp_cleanup(hub->context);
}

/* Traffic in both directions that goes on until one side is killed. Messages
 * are larger than what is sent at once, so that requests are always open. */
typedef struct {
    all_t        all;
    ucs_status_t failed;
    char         out[ALL_KILL_SIZE];
    char         in[ALL_KILL_SIZE];
    void        *send;
    void        *receive;
    ucp_tag_t    tag;
    int          may_send;
} all_victim_t;

static int all_is_done(void *request)
{
    return !UCS_PTR_IS_PTR(request) ||
           (ucp_request_check_status(request) != UCS_INPROGRESS);
}

static void all_victim_heard(void *request, ucs_status_t status,
                             const ucp_tag_recv_info_t *info, void *arg)
{
    all_victim_t *victim = arg;

    /* Not what an earlier victim has sent */
    if ((status == UCS_OK) && (info->sender_tag == victim->tag)) {
        victim->may_send = 1;
    }
}

static void all_victim_receive(all_victim_t *victim)
{
    ucp_tag_recv_info_t info;
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                                                 UCP_OP_ATTR_FIELD_USER_DATA |
                                                 UCP_OP_ATTR_FIELD_RECV_INFO,
                                 .cb.recv            = all_victim_heard,
                                 .user_data          = victim,
                                 .recv_info.tag_info = &info};

    victim->receive = ucp_tag_recv_nbx(victim->all.worker, victim->in,
                                       ALL_KILL_SIZE, 0, 0, &param);
    if (victim->receive == NULL) {
        all_victim_heard(NULL, UCS_OK, &info, victim);
    }
}

static void all_victim_step(all_victim_t *victim)
{
    if ((victim->failed == UCS_OK) && victim->may_send &&
        all_is_done(victim->send)) {
        if (UCS_PTR_IS_PTR(victim->send)) {
            ucp_request_free(victim->send);
        }
        victim->send = all_tag_send(victim->all.ep, victim->out,
                                    random() % ALL_KILL_SIZE, victim->tag);
    }
    if (all_is_done(victim->receive)) {
        if (UCS_PTR_IS_PTR(victim->receive)) {
            ucp_request_free(victim->receive);
        }
        all_victim_receive(victim);
    }
    all_progress(&victim->all);
}

static void all_child_kill(all_t *child, int number)
{
    static all_victim_t victim;

    victim.all      = *child;
    victim.tag      = number + 1;
    victim.may_send = 1;
    all_context_open(&victim.all, UCP_FEATURE_TAG);
    victim.all.worker = all_worker_open(&victim.all);
    all_address_write(victim.all.worker, child->sock);
    victim.all.ep = all_connect_by(&victim.all, victim.all.worker, child->sock,
                                   &victim.failed);
    while (victim.failed == UCS_OK) {
        all_victim_step(&victim);
    }
    all_fail(__LINE__, "the survivor is gone: %s",
             ucs_status_string(victim.failed));
}

static void all_victim_start(all_victim_t *victim, int number)
{
    /* Not before the victim was heard: UCP 1.13 asserts when a peer fails while
     * UCP's own answer to its first message waits for room */
    victim->may_send = 0;
    victim->tag      = number + 1;
    victim->failed   = UCS_OK;
    all_start(&victim->all, "kill", number);
    all_address_write(victim->all.worker, victim->all.sock);
    victim->all.ep = all_connect_by(&victim->all, victim->all.worker,
                                    victim->all.sock, &victim->failed);
}

static void all_victim_kill(all_victim_t *victim, double life)
{
    double       end = all_now() + ALL_PATIENCE;
    ucs_status_t status;

    while (!victim->may_send) {
        all_victim_step(victim);
        ALL_CHECK(all_now() < end, "nothing was heard of a victim in %g s",
                  ALL_PATIENCE);
    }
    end = all_now() + life;
    while (all_now() < end) {
        all_victim_step(victim);
    }
    kill(victim->all.pid, SIGKILL);
    waitpid(victim->all.pid, NULL, 0);
    end = all_now() + ALL_PATIENCE;
    while (victim->failed == UCS_OK) {
        all_victim_step(victim);
        ALL_CHECK(all_now() < end, "the endpoint did not fail in %g s",
                  ALL_PATIENCE);
    }
    /* The request ends, in whatever way */
    status = all_wait_status(&victim->all, victim->send);
    ALL_CHECK(status != UCS_INPROGRESS, "the last send did not end");
    victim->send = NULL;
    all_disconnect(&victim->all, victim->all.ep, UCP_EP_CLOSE_FLAG_FORCE);
    close(victim->all.sock);
}

static void all_test_kill(all_t *all)
{
    static all_victim_t victim;
    int                 i;

    all_context_open(&victim.all, UCP_FEATURE_TAG);
    victim.all.worker = all_worker_open(&victim.all);
    for (i = 0; i < ALL_KILL_ROUNDS; ++i) {
        all_victim_start(&victim, i);
        all_victim_kill(&victim, ALL_KILL_LIFE * random() / RAND_MAX);
    }
    if (UCS_PTR_IS_PTR(victim.receive)) {
        ucp_request_cancel(victim.all.worker, victim.receive);
        all_wait_status(&victim.all, victim.receive);
    }
    ucp_worker_destroy(victim.all.worker);
    ucp_cleanup(victim.all.context);
}

/* One side of a test of two processes */
static void all_pair(all_t *all, const all_test_t *test, int role)
{
    all->role = role;
    all_context_open(all, test->features);
    all->worker = all_worker_open(all);
    all_address_write(all->worker, all->sock);
    all->ep = all_connect_by(all, all->worker, all->sock, NULL);
    test->run(all);
    all_barrier(all);
    all_disconnect(all, all->ep, 0);
    all_barrier(all);
    ucp_worker_destroy(all->worker);
    ucp_cleanup(all->context);
}

static const all_test_t all_tests[] = {
        {"tag", 2, UCP_FEATURE_TAG, all_test_tag},
        {"tag_flight", 2, UCP_FEATURE_TAG, all_test_tag_flight},
        {"tag_iov", 2, UCP_FEATURE_TAG, all_test_tag_iov},
        {"stream", 2, UCP_FEATURE_STREAM, all_test_stream},
        {"am", 2, UCP_FEATURE_AM, all_test_am},
        {"rma", 2, UCP_FEATURE_RMA, all_test_rma},
        {"atomic", 2, UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64,
         all_test_atomic},
        {"refused", 2, UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64,
         all_test_refused},
        {"endpoints", 2, UCP_FEATURE_TAG, all_test_endpoints},
        {"self", 2, UCP_FEATURE_TAG, all_test_self},
        {"workers", 2, UCP_FEATURE_TAG, all_test_workers},
        {"wakeup", 2, UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP, all_test_wakeup},
        {"hub", 1 + ALL_HUB_CHILDREN, 0, all_test_hub, all_child_hub},
        {"kill", 1, 0, all_test_kill, all_child_kill}};

#define ALL_NUM_TESTS (sizeof(all_tests) / sizeof(all_tests[0]))

static const all_test_t *all_find(const char *name)
{
    size_t i;

    for (i = 0; i < ALL_NUM_TESTS; ++i) {
        if (!strcmp(name, all_tests[i].name)) {
            return &all_tests[i];
        }
    }
    return NULL;
}

static void all_run(const all_test_t *test)
{
    all_t all = {0};

    all_role = 0;
    if (test->child != NULL) {
        test->run(&all);
    } else {
        all_start(&all, test->name, 1);
        all_pair(&all, test, 0);
        all_join(&all);
    }
    printf("%s: ok\n", test->name);
}

static void all_run_child(const all_test_t *test, int sock, int number)
{
    all_t all = {.sock = sock};

    all_role = 1 + number;
    if (test->child != NULL) {
        test->child(&all, number);
    } else {
        all_pair(&all, test, 1);
    }
}

int main(int argc, char **argv)
{
    const all_test_t *test = (argc > 1) ? all_find(argv[1]) : NULL;
    size_t            i;

    if ((argc == 2) && !strcmp(argv[1], "list")) {
        for (i = 0; i < ALL_NUM_TESTS; ++i) {
            printf("%s %d\n", all_tests[i].name, all_tests[i].processes);
        }
    } else if ((argc == 2) && (test != NULL)) {
        all_run(test);
    } else if ((argc == 4) && (test != NULL)) {
        all_run_child(test, atoi(argv[2]), atoi(argv[3]));
    } else {
        fprintf(stderr, "usage: ucp_all TEST | list\n");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
