/*
 * What waiting costs whom: two pinned processes send a message of 8 bytes back
 * and forth by UCP. Before each the client computes for a while, so that its
 * server has to wait: by polling, or asleep in ucp_worker_wait().
 *
 * Prints one CSV line: the median of half a round trip, and the processor time
 * that the server used for each message, both in nanoseconds.
 *
 * usage: ucp_pace --cpus A,B poll|sleep PAUSE_US SECONDS
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#include <ucp/api/ucp.h>

#include <sys/resource.h>
#include <sys/socket.h>

#define TAG          1
#define ADDRESS_MAX  4096
#define WARMUP       200
#define ROUNDS_MAX   1000000
#define LAST         UINT64_MAX
#define WATCHDOG_SEC 120

typedef struct {
    double processor_ns;
    double messages;
} pace_result_t;

static struct {
    int            is_asleep;
    double         pause;
    double         duration;
    int            socket;
    ucp_context_h  context;
    ucp_worker_h   worker;
    ucp_ep_h       ep;
    pace_result_t *server;
} pace;


static void pace_check(const char *what, ucs_status_t status)
{
    if (status != UCS_OK) {
        fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
        exit(EXIT_FAILURE);
    }
}

/* Of all threads of this process, nanoseconds */
static double pace_processor_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static void pace_open(void)
{
    const ucp_worker_params_t worker_params = {0};
    ucp_params_t              params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                                        .features   = UCP_FEATURE_TAG};

    if (pace.is_asleep) {
        params.features |= UCP_FEATURE_WAKEUP;
    }
    pace_check("ucp_init", ucp_init(&params, NULL, &pace.context));
    pace_check("ucp_worker_create",
               ucp_worker_create(pace.context, &worker_params, &pace.worker));
}

static void pace_connect(void)
{
    char            buffer[ADDRESS_MAX];
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                              .address    = (ucp_address_t *)buffer};
    ucp_address_t  *address;
    size_t          length;

    pace_check("ucp_worker_get_address",
               ucp_worker_get_address(pace.worker, &address, &length));
    if ((send(pace.socket, address, length, 0) != (ssize_t)length) ||
        (recv(pace.socket, buffer, sizeof(buffer), 0) <= 0)) {
        bench_die("exchange of the addresses");
    }
    ucp_worker_release_address(pace.worker, address);
    pace_check("ucp_ep_create", ucp_ep_create(pace.worker, &params, &pace.ep));
}

static void pace_wait(void *request)
{
    if (request == NULL) {
        return;
    }

    if (UCS_PTR_IS_ERR(request)) {
        pace_check("request", UCS_PTR_STATUS(request));
    }
    while (ucp_request_check_status(request) == UCS_INPROGRESS) {
        if ((ucp_worker_progress(pace.worker) == 0) && pace.is_asleep) {
            pace_check("ucp_worker_wait", ucp_worker_wait(pace.worker));
        }
    }
    pace_check("request", ucp_request_check_status(request));
    ucp_request_free(request);
}

static void pace_send(uint64_t number)
{
    const ucp_request_param_t param = {0};

    pace_wait(ucp_tag_send_nbx(pace.ep, &number, sizeof(number), TAG, &param));
}

static uint64_t pace_receive(void)
{
    const ucp_request_param_t param = {0};
    uint64_t                  number;

    pace_wait(ucp_tag_recv_nbx(pace.worker, &number, sizeof(number), TAG,
                               UINT64_MAX, &param));
    return number;
}

/* A side that is gone, or silent, would fail or delay the other one's flush */
static void pace_await_other(void)
{
    char    byte = 0;
    ssize_t length;

    if (send(pace.socket, &byte, sizeof(byte), 0) != sizeof(byte)) {
        bench_die("telling the other side");
    }
    do {
        ucp_worker_progress(pace.worker);
        length = recv(pace.socket, &byte, sizeof(byte), MSG_DONTWAIT);
    } while ((length < 0) && (errno == EAGAIN));
    if (length != sizeof(byte)) {
        bench_die("waiting for the other side");
    }
}

static void pace_close(void)
{
    const ucp_request_param_t param = {0};

    /* Closing is not what is measured, and sleeping for it is of no use */
    pace.is_asleep = 0;
    pace_wait(ucp_ep_close_nbx(pace.ep, &param));
    pace_await_other();
    ucp_worker_destroy(pace.worker);
    ucp_cleanup(pace.context);
}

static void pace_serve(void)
{
    uint64_t count = 0, number;
    double   start = 0;

    do {
        number = pace_receive();
        if (count++ == WARMUP) {
            start = pace_processor_time();
        }
        pace_send(number);
    } while (number != LAST);

    pace.server->processor_ns = pace_processor_time() - start;
    pace.server->messages     = count - WARMUP;
}

static void pace_compute(void)
{
    double end = bench_now() + pace.pause;

    while (bench_now() < end) {
        bench_relax();
    }
}

static double pace_round_trip(uint64_t number)
{
    double start;

    pace_compute();
    start = bench_now();
    pace_send(number);
    if (pace_receive() != number) {
        fprintf(stderr, "a wrong answer to message %lu\n", number);
        exit(EXIT_FAILURE);
    }
    return bench_now() - start;
}

static double pace_request(void)
{
    double  *times = bench_alloc(ROUNDS_MAX * sizeof(*times));
    unsigned count = 0;
    double   end;

    for (count = 0; count < WARMUP; ++count) {
        pace_round_trip(count);
    }
    end = bench_now() + pace.duration;
    for (count = 0; (count < ROUNDS_MAX) && (bench_now() < end); ++count) {
        times[count] = pace_round_trip(count);
    }
    pace_round_trip(LAST);
    return bench_median(times, count) / 2;
}

static void pace_parse(int argc, char **argv, int cpus[2])
{
    if ((argc != 6) || strcmp(argv[1], "--cpus")) {
        fprintf(stderr, "usage: ucp_pace --cpus A,B poll|sleep PAUSE_US "
                        "SECONDS\n");
        exit(EXIT_FAILURE);
    }

    bench_parse_cpus(argv[2], cpus);
    pace.is_asleep = !strcmp(argv[3], "sleep");
    pace.pause     = atof(argv[4]) * 1e3;
    pace.duration  = atof(argv[5]) * 1e9;
}

static void pace_start(int side, const int cpus[2], const int sockets[2])
{
    alarm(WATCHDOG_SEC);
    bench_pin(cpus[side]);
    pace.socket = sockets[side];
    pace_open();
    pace_connect();
}

int main(int argc, char **argv)
{
    int    cpus[2], sockets[2];
    double latency;
    pid_t  pid;

    pace_parse(argc, argv, cpus);
    pace.server = bench_shm_alloc(sizeof(*pace.server));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) != 0) {
        bench_die("socketpair");
    }

    /* Before UCX has threads or files */
    pid = bench_fork();
    pace_start(pid == 0, cpus, sockets);
    if (pid == 0) {
        pace_serve();
        pace_close();
        _exit(0);
    }

    latency = pace_request();
    pace_close();
    bench_join(pid);
    printf("ucp_pace,%s,%s,%.1f,%.1f\n", argv[3], argv[4], latency,
           pace.server->processor_ns / pace.server->messages);
    return 0;
}
