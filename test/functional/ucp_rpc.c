/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A small RPC service over UCX, as such libraries do it: a listener, an active
 * message for a request and one for its reply, many clients of one server. A
 * client that dies costs the server one endpoint; a server that dies costs the
 * client one connection, which it makes anew if told so.
 */

#include <ucp/api/ucp.h>

#include <arpa/inet.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define RPC_AM_REQUEST 1
#define RPC_AM_REPLY   2

#define RPC_MAX_CLIENTS 1024
#define RPC_MAX_TIMES   (1u << 20) /* The last ones are kept */
#define RPC_NSEC        1000000000ull
#define RPC_USEC        1000.0

/* How long a server that is not there is tried again: nanoseconds */
#define RPC_RECONNECT_STEP (RPC_NSEC / 20)

/* A server whose client is gone gets no answer any more */
#define RPC_TRANSFORM(_byte) ((uint8_t)((_byte) + 1))


typedef enum {
    RPC_POLL,
    RPC_SLEEP, /* ucp_worker_arm() and poll() */
    RPC_WAIT   /* ucp_worker_wait() */
} rpc_mode_t;

static const char *rpc_mode_names[] = {"poll", "sleep", "wait"};

#define RPC_NUM_MODES (sizeof(rpc_mode_names) / sizeof(rpc_mode_names[0]))


typedef struct rpc_options {
    const char *address;
    int         port;
    rpc_mode_t  mode;
    unsigned    num_requests;
    size_t      size;
    unsigned    kill_after; /* 0: never */
    unsigned    reconnects; /* Times that a lost server may be looked for */
} rpc_options_t;


/* A connection to a client, as the server has it */
typedef struct rpc_session {
    ucp_ep_h ep;
    int      is_lost;
} rpc_session_t;


/* A request or a reply. Its number is the header, which UCP wants to be there
 * until it is sent. */
typedef struct rpc_call {
    ucp_ep_h ep;
    uint64_t number;
    size_t   size;
    uint8_t  data[];
} rpc_call_t;


static struct {
    rpc_options_t options;
    ucp_context_h context;
    ucp_worker_h  worker;
    int           fd;

    rpc_session_t sessions[RPC_MAX_CLIENTS];
    unsigned      num_sessions;
    unsigned      num_lost;
    uint64_t      num_served;

    ucp_ep_h ep; /* Client's */
    int      is_lost;
    uint64_t replied; /* Number of the last reply */
    size_t   reply_size;
    uint8_t *reply;
} rpc;


static volatile sig_atomic_t rpc_is_over;

static void rpc_handle_signal(int number)
{
    (void)number;
    rpc_is_over = 1;
    /* ucp_worker_wait() does not end for a signal */
    if (rpc.worker != NULL) {
        (void)ucp_worker_signal(rpc.worker);
    }
}

static void rpc_die(const char *what, ucs_status_t status)
{
    fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
    exit(EXIT_FAILURE);
}

static void rpc_check(const char *what, ucs_status_t status)
{
    if (status != UCS_OK) {
        rpc_die(what, status);
    }
}

static uint64_t rpc_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * RPC_NSEC) + (uint64_t)now.tv_nsec;
}

static void *rpc_alloc(size_t size)
{
    void *memory = malloc(size + 1);

    if (memory == NULL) {
        rpc_die("malloc", UCS_ERR_NO_MEMORY);
    }

    return memory;
}

/* Let something happen: wait for it, if that is wanted */
static void rpc_wait(void)
{
    struct pollfd pollfd = {.fd = rpc.fd, .events = POLLIN};

    if ((ucp_worker_progress(rpc.worker) > 0) ||
        (rpc.options.mode == RPC_POLL) || rpc_is_over) {
        return;
    }

    if (rpc.options.mode == RPC_WAIT) {
        (void)ucp_worker_wait(rpc.worker);
    } else if (ucp_worker_arm(rpc.worker) == UCS_OK) {
        (void)poll(&pollfd, 1, -1);
    }
}

static void rpc_open(void)
{
    const ucp_params_t        params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                                        .features =
                                                UCP_FEATURE_AM | UCP_FEATURE_WAKEUP};
    const ucp_worker_params_t worker_params = {
            .field_mask  = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
            .thread_mode = UCS_THREAD_MODE_SINGLE};

    rpc_check("ucp_init", ucp_init(&params, NULL, &rpc.context));
    rpc_check("ucp_worker_create",
              ucp_worker_create(rpc.context, &worker_params, &rpc.worker));
    rpc_check("ucp_worker_get_efd", ucp_worker_get_efd(rpc.worker, &rpc.fd));
}

static void rpc_handle(unsigned id, ucp_am_recv_callback_t callback)
{
    const ucp_am_handler_param_t param = {
            .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                          UCP_AM_HANDLER_PARAM_FIELD_CB,
            .id = id,
            .cb = callback};

    rpc_check("ucp_worker_set_am_recv_handler",
              ucp_worker_set_am_recv_handler(rpc.worker, &param));
}

static void rpc_set_address(struct sockaddr_in *address, const char *text)
{
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_port   = htons((uint16_t)rpc.options.port);
    if (inet_pton(AF_INET, text, &address->sin_addr) != 1) {
        fprintf(stderr, "\"%s\" is no address\n", text);
        exit(EXIT_FAILURE);
    }
}

/* By force: the other side may be gone */
static void rpc_close(ucp_ep_h ep)
{
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                       .flags        = UCP_EP_CLOSE_FLAG_FORCE};
    ucs_status_ptr_t          request;

    request = ucp_ep_close_nbx(ep, &param);
    if (!UCS_PTR_IS_PTR(request)) {
        return;
    }

    while (ucp_request_check_status(request) == UCS_INPROGRESS) {
        ucp_worker_progress(rpc.worker);
    }
    ucp_request_free(request);
}

static rpc_call_t *rpc_call_new(ucp_ep_h ep, size_t size)
{
    rpc_call_t *call = rpc_alloc(sizeof(*call) + size);

    call->ep   = ep;
    call->size = size;
    return call;
}

/* Send and free, whatever becomes of it */
static void rpc_sent(void *request, ucs_status_t status, void *arg)
{
    (void)status;
    free(arg);
    ucp_request_free(request);
}

static void rpc_send(unsigned id, rpc_call_t *call)
{
    const ucp_request_param_t param = {.op_attr_mask =
                                               UCP_OP_ATTR_FIELD_CALLBACK |
                                               UCP_OP_ATTR_FIELD_USER_DATA |
                                               UCP_OP_ATTR_FIELD_FLAGS,
                                       .flags     = UCP_AM_SEND_FLAG_REPLY,
                                       .cb.send   = rpc_sent,
                                       .user_data = call};
    ucs_status_ptr_t          request;

    request = ucp_am_send_nbx(call->ep, id, &call->number, sizeof(call->number),
                              call->data, call->size, &param);
    if (!UCS_PTR_IS_PTR(request)) {
        free(call);
    }
}


/* Server */

static rpc_session_t *rpc_session_find(ucp_ep_h ep)
{
    unsigned i;

    for (i = 0; i < rpc.num_sessions; ++i) {
        if (rpc.sessions[i].ep == ep) {
            return &rpc.sessions[i];
        }
    }

    return NULL;
}

/* The endpoint cannot be closed from in here */
static void rpc_session_lost(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    rpc_session_t *session = rpc_session_find(ep);

    (void)arg;
    (void)status;
    if (session != NULL) {
        session->is_lost = 1;
    }
}

static void rpc_accept(ucp_conn_request_h request, void *arg)
{
    const ucp_ep_params_t params = {
            .field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST |
                          UCP_EP_PARAM_FIELD_ERR_HANDLER |
                          UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
            .conn_request = request,
            .err_mode     = UCP_ERR_HANDLING_MODE_PEER,
            .err_handler  = {.cb = rpc_session_lost}};
    rpc_session_t *session = &rpc.sessions[rpc.num_sessions];

    (void)arg;
    if (rpc.num_sessions == RPC_MAX_CLIENTS) {
        ucp_listener_reject((ucp_listener_h)arg, request);
        return;
    }

    session->is_lost = 0;
    if (ucp_ep_create(rpc.worker, &params, &session->ep) == UCS_OK) {
        ++rpc.num_sessions;
    }
}

static void rpc_close_lost_sessions(void)
{
    unsigned i = 0;
    ucp_ep_h ep;

    while (i < rpc.num_sessions) {
        if (!rpc.sessions[i].is_lost) {
            ++i;
            continue;
        }

        ep              = rpc.sessions[i].ep;
        rpc.sessions[i] = rpc.sessions[--rpc.num_sessions];
        ++rpc.num_lost;
        rpc_close(ep);
    }
}

static void rpc_answer(rpc_call_t *call)
{
    size_t i;

    for (i = 0; i < call->size; ++i) {
        call->data[i] = RPC_TRANSFORM(call->data[i]);
    }

    if (++rpc.num_served == rpc.options.kill_after) {
        raise(SIGKILL);
    }

    rpc_send(RPC_AM_REPLY, call);
}

static void
rpc_received(void *request, ucs_status_t status, size_t length, void *arg)
{
    rpc_call_t *call = arg;

    (void)length;
    ucp_request_free(request);
    if (status == UCS_OK) {
        rpc_answer(call);
    } else {
        free(call);
    }
}

/* The data of a large request are still at the client */
static ucs_status_t rpc_fetch(void *data, rpc_call_t *call)
{
    const ucp_request_param_t param = {.op_attr_mask =
                                               UCP_OP_ATTR_FIELD_CALLBACK |
                                               UCP_OP_ATTR_FIELD_USER_DATA |
                                               UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
                                       .cb.recv_am = rpc_received,
                                       .user_data  = call};
    ucs_status_ptr_t          request;

    request = ucp_am_recv_data_nbx(rpc.worker, data, call->data, call->size,
                                   &param);
    if (UCS_PTR_IS_ERR(request)) {
        free(call);
    }

    return UCS_INPROGRESS;
}

static ucs_status_t
rpc_requested(void *arg, const void *header, size_t header_length, void *data,
              size_t length, const ucp_am_recv_param_t *param)
{
    rpc_call_t *call;

    (void)arg;
    if ((header_length != sizeof(call->number)) ||
        !(param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP)) {
        return UCS_OK;
    }

    call = rpc_call_new(param->reply_ep, length);
    memcpy(&call->number, header, sizeof(call->number));
    if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) {
        return rpc_fetch(data, call);
    }

    memcpy(call->data, data, length);
    rpc_answer(call);
    return UCS_OK;
}

static void rpc_serve(void)
{
    struct sockaddr_in    address;
    ucp_listener_params_t params = {
            .field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR |
                          UCP_LISTENER_PARAM_FIELD_CONN_HANDLER,
            .sockaddr     = {.addr    = (struct sockaddr *)&address,
                             .addrlen = sizeof(address)},
            .conn_handler = {.cb = rpc_accept}};
    ucp_listener_h listener;

    rpc_set_address(&address, rpc.options.address);
    rpc_handle(RPC_AM_REQUEST, rpc_requested);
    rpc_check("ucp_listener_create",
              ucp_listener_create(rpc.worker, &params, &listener));
    printf("READY\n");
    fflush(stdout);

    while (!rpc_is_over) {
        rpc_wait();
        rpc_close_lost_sessions();
    }

    ucp_listener_destroy(listener);
    while (rpc.num_sessions > 0) {
        rpc_close(rpc.sessions[--rpc.num_sessions].ep);
    }
    printf("SERVED requests=%llu lost=%u\n", (unsigned long long)rpc.num_served,
           rpc.num_lost);
}


/* Client */

static void rpc_server_lost(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    (void)arg;
    (void)ep;
    (void)status;
    rpc.is_lost = 1;
}

static void
rpc_fetched(void *request, ucs_status_t status, size_t length, void *arg)
{
    ucp_request_free(request);
    if (status == UCS_OK) {
        rpc.reply_size = length;
        rpc.replied    = (uint64_t)(uintptr_t)arg;
    }
}

/* A reply that is longer than the request is a bug, and does not fit */
static ucs_status_t rpc_replied(void *arg, const void *header,
                                size_t header_length, void *data, size_t length,
                                const ucp_am_recv_param_t *param)
{
    ucp_request_param_t recv = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                                                UCP_OP_ATTR_FIELD_USER_DATA |
                                                UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
                                .cb.recv_am = rpc_fetched};
    uint64_t            number;

    (void)arg;
    if ((header_length != sizeof(number)) || (length > rpc.options.size)) {
        return UCS_OK;
    }

    memcpy(&number, header, sizeof(number));
    if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) {
        recv.user_data = (void *)(uintptr_t)number;
        (void)ucp_am_recv_data_nbx(rpc.worker, data, rpc.reply, length, &recv);
        return UCS_INPROGRESS;
    }

    memcpy(rpc.reply, data, length);
    rpc.reply_size = length;
    rpc.replied    = number;
    return UCS_OK;
}

static void rpc_connect(void)
{
    struct sockaddr_in    address;
    const ucp_ep_params_t params = {
            .field_mask = UCP_EP_PARAM_FIELD_SOCK_ADDR |
                          UCP_EP_PARAM_FIELD_FLAGS |
                          UCP_EP_PARAM_FIELD_ERR_HANDLER |
                          UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
            .flags       = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER,
            .sockaddr    = {.addr    = (struct sockaddr *)&address,
                            .addrlen = sizeof(address)},
            .err_mode    = UCP_ERR_HANDLING_MODE_PEER,
            .err_handler = {.cb = rpc_server_lost}};

    rpc_set_address(&address, rpc.options.address);
    rpc.is_lost = 0;
    rpc_check("ucp_ep_create", ucp_ep_create(rpc.worker, &params, &rpc.ep));
}

static void rpc_fill(uint8_t *data, uint64_t number)
{
    size_t i;

    for (i = 0; i < rpc.options.size; ++i) {
        data[i] = (uint8_t)(number + (i * 7));
    }
}

static void rpc_check_reply(uint64_t number)
{
    uint8_t *expected = rpc_alloc(rpc.options.size);
    size_t   i;

    rpc_fill(expected, number);
    for (i = 0; i < rpc.options.size; ++i) {
        expected[i] = RPC_TRANSFORM(expected[i]);
    }

    if ((rpc.reply_size != rpc.options.size) ||
        memcmp(rpc.reply, expected, rpc.options.size)) {
        fprintf(stderr, "reply %llu is wrong\n", (unsigned long long)number);
        exit(EXIT_FAILURE);
    }

    free(expected);
}

/* @return Zero: the server is gone */
static int rpc_exchange(uint64_t number)
{
    rpc_call_t *call = rpc_call_new(rpc.ep, rpc.options.size);

    call->number = number;
    rpc_fill(call->data, number);
    rpc_send(RPC_AM_REQUEST, call);
    while ((rpc.replied != number) && !rpc.is_lost && !rpc_is_over) {
        rpc_wait();
    }

    if (rpc.replied != number) {
        return 0;
    }

    rpc_check_reply(number);
    return 1;
}

static void rpc_reconnect(void)
{
    const struct timespec step = {.tv_nsec = RPC_RECONNECT_STEP};

    if (rpc_is_over || (rpc.options.reconnects-- == 0)) {
        fprintf(stderr, "the server is gone\n");
        exit(EXIT_FAILURE);
    }

    rpc_close(rpc.ep);
    nanosleep(&step, NULL);
    rpc_connect();
}

static int rpc_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* @return Zero: it was told to end before there was an answer */
static int rpc_exchange_in_the_end(uint64_t number, unsigned *lost)
{
    while (!rpc_exchange(number)) {
        if (rpc_is_over && (rpc.options.num_requests == 0)) {
            return 0;
        }

        ++*lost;
        rpc_reconnect();
    }

    return 1;
}

/* @return How many requests were answered; how long the last ones took */
static unsigned rpc_exchange_all(double *times, unsigned *lost)
{
    unsigned num_requests = rpc.options.num_requests;
    uint64_t start;
    unsigned i;

    for (i = 0; (i < num_requests) || (num_requests == 0); ++i) {
        start = rpc_now();
        if (!rpc_exchange_in_the_end(i + 1, lost)) {
            break;
        }

        times[i % RPC_MAX_TIMES] = (double)(rpc_now() - start) / RPC_USEC;
        if (i + 1 == rpc.options.kill_after) {
            raise(SIGKILL);
        }
        if ((num_requests == 0) && (i == 0)) {
            printf("GOING\n");
            fflush(stdout);
        }
    }

    return i;
}

static void rpc_request(void)
{
    double  *times = rpc_alloc(RPC_MAX_TIMES * sizeof(*times));
    unsigned lost  = 0;
    unsigned count, num_times;
    uint64_t start;

    rpc_handle(RPC_AM_REPLY, rpc_replied);
    rpc.reply = rpc_alloc(rpc.options.size);
    rpc_connect();

    start     = rpc_now();
    count     = rpc_exchange_all(times, &lost);
    start     = rpc_now() - start;
    num_times = (count < RPC_MAX_TIMES) ? count : RPC_MAX_TIMES;
    qsort(times, num_times, sizeof(*times), rpc_compare);
    printf("CLIENT requests=%u median_us=%.2f rate=%.0f reconnects=%u ok\n",
           count, (num_times > 0) ? times[num_times / 2] : 0,
           (double)count * RPC_NSEC / (double)start, lost);
    rpc_close(rpc.ep);
    free(times);
}

static void __attribute__((noreturn)) rpc_usage(void)
{
    fprintf(stderr,
            "usage: ucp_rpc server|client -a ADDRESS -p PORT [OPTION...]\n"
            "  -m poll|sleep|wait  how to wait [sleep]\n"
            "  -n NUMBER           of requests [1000]; 0: until SIGTERM, and\n"
            "                      says GOING after the first one\n"
            "  -s BYTES            of a request and of its reply [64]\n"
            "  -k NUMBER           kill oneself at that request\n"
            "  -r NUMBER           how often to look for a lost server [0]\n");
    exit(2);
}

static rpc_mode_t rpc_parse_mode(const char *name)
{
    unsigned i;

    for (i = 0; i < RPC_NUM_MODES; ++i) {
        if (!strcmp(rpc_mode_names[i], name)) {
            return (rpc_mode_t)i;
        }
    }

    rpc_usage();
}

static void rpc_parse(int argc, char **argv)
{
    int option;

    rpc.options = (rpc_options_t){.address      = "127.0.0.1",
                                  .mode         = RPC_SLEEP,
                                  .num_requests = 1000,
                                  .size         = 64};
    while ((option = getopt(argc, argv, "a:p:m:n:s:k:r:")) != -1) {
        switch (option) {
        case 'a':
            rpc.options.address = optarg;
            break;
        case 'p':
            rpc.options.port = atoi(optarg);
            break;
        case 'm':
            rpc.options.mode = rpc_parse_mode(optarg);
            break;
        case 'n':
            rpc.options.num_requests = (unsigned)atoi(optarg);
            break;
        case 's':
            rpc.options.size = (size_t)atol(optarg);
            break;
        case 'k':
            rpc.options.kill_after = (unsigned)atoi(optarg);
            break;
        case 'r':
            rpc.options.reconnects = (unsigned)atoi(optarg);
            break;
        default:
            rpc_usage();
        }
    }
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = rpc_handle_signal};

    if (argc < 2) {
        rpc_usage();
    }

    sigaction(SIGTERM, &action, NULL);
    rpc_parse(argc - 1, argv + 1);
    rpc_open();
    if (!strcmp(argv[1], "server")) {
        rpc_serve();
    } else {
        rpc_request();
    }

    ucp_worker_destroy(rpc.worker);
    ucp_cleanup(rpc.context);
    return EXIT_SUCCESS;
}
