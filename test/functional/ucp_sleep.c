/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Two processes that talk by UCP and sleep whenever they wait, in one of the ways
 * that UCP offers; in the middle nothing happens for a while, and the one that
 * waits may use hardly any processor time.
 *
 * usage: ucp_sleep wait|epoll ROUNDS IDLE_SECONDS
 *        ucp_sleep busy MESSAGES LENGTH
 *
 *   wait   ucp_worker_wait()
 *   epoll  ucp_worker_arm() and epoll_wait() on ucp_worker_get_efd()
 *
 *   busy   nobody sleeps: active messages, each way. Where that begins and ends,
 *          both change to a folder that does not exist
 *
 * Prints the percentage of a processor that the waiting process used.
 */

#define _GNU_SOURCE

#include <ucp/api/ucp.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TAG          7
#define ADDRESS_MAX  1024
#define WATCHDOG_SEC 60
#define MAX_PERCENT  1.0
#define AM_ID        1
#define BUSY_WINDOW  16   /* messages on the way */
#define BUSY_WARM_UP 1000 /* messages that are not a part of it */

static struct {
    ucp_context_h context;
    ucp_worker_h  worker;
    ucp_ep_h      ep;
    int           epoll_fd; /* -1: ucp_worker_wait() */
    int           socket;
    unsigned long received; /* Active messages */
} state;


static void check(int is_good, const char *what)
{
    if (!is_good) {
        fprintf(stderr, "failed: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Of all threads of this process */
static double processor_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void open_ucp(int use_epoll)
{
    ucp_params_t        params        = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                                         .features = UCP_FEATURE_TAG | UCP_FEATURE_AM |
                                                     UCP_FEATURE_WAKEUP};
    ucp_worker_params_t worker_params = {0};
    struct epoll_event  event         = {.events = EPOLLIN};
    int                 fd;

    check(ucp_init(&params, NULL, &state.context) == UCS_OK, "ucp_init");
    check(ucp_worker_create(state.context, &worker_params, &state.worker) ==
                  UCS_OK,
          "ucp_worker_create");
    state.epoll_fd = -1;
    if (use_epoll) {
        check(ucp_worker_get_efd(state.worker, &fd) == UCS_OK, "get_efd");
        state.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        check(epoll_ctl(state.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0,
              "epoll_ctl");
    }
}

static void connect_ucp(void)
{
    char            buffer[ADDRESS_MAX];
    ucp_address_t  *address;
    size_t          length;
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                              .address    = (ucp_address_t *)buffer};

    check(ucp_worker_get_address(state.worker, &address, &length) == UCS_OK,
          "address");
    check(send(state.socket, address, length, 0) == (ssize_t)length, "send");
    ucp_worker_release_address(state.worker, address);
    check(recv(state.socket, buffer, sizeof(buffer), 0) > 0, "recv");
    check(ucp_ep_create(state.worker, &params, &state.ep) == UCS_OK, "ep");
}

static void sleep_once(void)
{
    struct epoll_event event;
    ucs_status_t       status;

    if (state.epoll_fd < 0) {
        check(ucp_worker_wait(state.worker) == UCS_OK, "ucp_worker_wait");
        return;
    }

    status = ucp_worker_arm(state.worker);
    if (status == UCS_ERR_BUSY) {
        return;
    }
    check(status == UCS_OK, "ucp_worker_arm");
    check(epoll_wait(state.epoll_fd, &event, 1, WATCHDOG_SEC * 1000) == 1,
          "not woken");
}

static void wait_for(void *request)
{
    if (request == NULL) {
        return;
    }

    check(!UCS_PTR_IS_ERR(request), ucs_status_string(UCS_PTR_STATUS(request)));
    while (ucp_request_check_status(request) == UCS_INPROGRESS) {
        if (ucp_worker_progress(state.worker) == 0) {
            sleep_once();
        }
    }
    check(ucp_request_check_status(request) == UCS_OK, "a request");
    ucp_request_free(request);
}

static void send_number(unsigned number)
{
    ucp_request_param_t param = {0};

    wait_for(ucp_tag_send_nbx(state.ep, &number, sizeof(number), TAG, &param));
}

static void receive_number(unsigned expected)
{
    ucp_request_param_t param  = {0};
    unsigned            number = ~expected;

    wait_for(ucp_tag_recv_nbx(state.worker, &number, sizeof(number), TAG,
                              (ucp_tag_t)-1, &param));
    check(number == expected, "a wrong message");
}

static void close_ucp(void)
{
    ucp_request_param_t param = {0};
    void               *request;

    request = ucp_ep_close_nbx(state.ep, &param);
    while ((request != NULL) && !UCS_PTR_IS_ERR(request) &&
           (ucp_request_check_status(request) == UCS_INPROGRESS)) {
        ucp_worker_progress(state.worker);
    }
    if ((request != NULL) && !UCS_PTR_IS_ERR(request)) {
        ucp_request_free(request);
    }
    ucp_worker_destroy(state.worker);
    ucp_cleanup(state.context);
}

static void run_client(unsigned rounds, double idle)
{
    unsigned i;

    for (i = 0; i < 2 * rounds; ++i) {
        if (i == rounds) {
            usleep((useconds_t)(idle * 1e6));
        }
        send_number(i);
        receive_number(i);
    }
}

static void run_server(unsigned rounds, double idle)
{
    double   start = 0, time = 0;
    unsigned i;

    for (i = 0; i < 2 * rounds; ++i) {
        if (i == rounds) {
            start = now();
            time  = processor_time();
        }
        receive_number(i);
        if (i == rounds) {
            time  = processor_time() - time;
            start = now() - start;
        }
        send_number(i);
    }

    printf("idle %.2f seconds, %.3f %% of a processor\n", start,
           100 * time / start);
    check(start > idle / 2, "it was not idle");
    check(100 * time / start < MAX_PERCENT, "it used too much time");
}

static ucs_status_t handle_am(void *arg, const void *header,
                              size_t header_length, void *data, size_t length,
                              const ucp_am_recv_param_t *param)
{
    ++state.received;
    return UCS_OK;
}

static void send_am(const void *data, size_t length)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                 .flags        = UCP_AM_SEND_FLAG_EAGER};
    void               *request;

    request = ucp_am_send_nbx(state.ep, AM_ID, NULL, 0, data, length, &param);
    check(!UCS_PTR_IS_ERR(request), "ucp_am_send_nbx");
    while ((request != NULL) &&
           (ucp_request_check_status(request) == UCS_INPROGRESS)) {
        ucp_worker_progress(state.worker);
    }
    if (request != NULL) {
        ucp_request_free(request);
    }
}

/* Send and receive until so many were, in all */
static void exchange(unsigned long *sent, unsigned long count, const void *data,
                     size_t length)
{
    while ((*sent < count) || (state.received < count)) {
        if ((*sent < count) && (*sent < state.received + BUSY_WINDOW)) {
            send_am(data, length);
            ++*sent;
        }
        ucp_worker_progress(state.worker);
    }
}

static void run_busy(unsigned long messages, size_t length)
{
    ucp_am_handler_param_t param = {.field_mask =
                                            UCP_AM_HANDLER_PARAM_FIELD_ID |
                                            UCP_AM_HANDLER_PARAM_FIELD_CB,
                                    .id = AM_ID,
                                    .cb = handle_am};
    unsigned long          sent  = 0;
    void                  *data  = calloc(1, length);

    check(ucp_worker_set_am_recv_handler(state.worker, &param) == UCS_OK,
          "ucp_worker_set_am_recv_handler");
    exchange(&sent, BUSY_WARM_UP, data, length);
    (void)!chdir("xshm-busy-begin");
    exchange(&sent, BUSY_WARM_UP + messages, data, length);
    (void)!chdir("xshm-busy-end");

    /* What closing brings must not disturb the other one */
    check(send(state.socket, data, 1, 0) == 1, "send");
    check(recv(state.socket, data, 1, 0) == 1, "recv");
    free(data);
}

/* The client is this program, started anew: UCX keeps a log for each process, and
 * has opened that of this one already */
static pid_t start_client(char **argv, int *socket_p)
{
    char  number[16];
    int   fds[2];
    pid_t pid;

    check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0, "socketpair");
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(number, sizeof(number), "%d", fds[1]);
        execl("/proc/self/exe", argv[0], argv[1], argv[2], argv[3], number,
              NULL);
        check(0, "exec");
    }

    close(fds[1]);
    *socket_p = fds[0];
    return pid;
}

int main(int argc, char **argv)
{
    int      is_client = (argc == 5);
    pid_t    pid       = 0;
    int      status;
    unsigned rounds;
    double   idle;

    check((argc == 4) || is_client,
          "usage: ucp_sleep wait|epoll ROUNDS IDLE_SECONDS, or\n"
          "       ucp_sleep busy MESSAGES LENGTH");
    rounds = (unsigned)atoi(argv[2]);
    idle   = atof(argv[3]);
    if (is_client) {
        state.socket = atoi(argv[4]);
    } else {
        pid = start_client(argv, &state.socket);
    }

    alarm(2 * WATCHDOG_SEC);
    open_ucp(!strcmp(argv[1], "epoll"));
    connect_ucp();
    if (!strcmp(argv[1], "busy")) {
        run_busy(rounds, (size_t)idle);
    } else if (is_client) {
        run_client(rounds, idle);
    } else {
        run_server(rounds, idle);
    }
    close_ucp();
    if (!is_client) {
        waitpid(pid, &status, 0);
        check(status == 0, "the other process");
    }
    return EXIT_SUCCESS;
}
