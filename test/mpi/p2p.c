/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Point-to-point communication: sizes around every limit at which a protocol
 * changes, any-source, many messages in flight, both directions at once,
 * messages that come before they are asked for, probing, modes of sending,
 * and derived datatypes.
 */

#include "check.h"

#include <stdlib.h>
#include <string.h>

#define P2P_MAX_SIZE    (2 * CHECK_MIB)
#define P2P_SMALL_SIZES 300
#define P2P_AROUND      72
#define P2P_ANY_COUNT   200
#define P2P_FLIGHT      300
#define P2P_FLIGHT_MAX  (96 * CHECK_KIB)
#define P2P_UNEXPECTED  250
#define P2P_UNEXP_MAX   (40 * CHECK_KIB)
#define P2P_BIDIR       24
#define P2P_ROWS        300
#define P2P_COLUMNS     70

enum {
    P2P_TAG_SIZE = 100,
    P2P_TAG_ANY,
    P2P_TAG_BIDIR,
    P2P_TAG_GO,
    P2P_TAG_MODE,
    P2P_TAG_TYPE,
    P2P_TAG_PROBE,
    P2P_TAG_MANY = 10000
};

static int p2p_next(void)
{
    return (check_rank + 1) % check_size;
}

static int p2p_prev(void)
{
    return (check_rank + check_size - 1) % check_size;
}

static void p2p_one_size(char *out, char *in, size_t size)
{
    MPI_Request request;

    memset(in, 0, size);
    check_fill(out, size, check_seed(check_rank, size, 1));
    MPI_Isend(out, size, MPI_BYTE, p2p_next(), P2P_TAG_SIZE, MPI_COMM_WORLD,
              &request);
    MPI_Recv(in, size, MPI_BYTE, p2p_prev(), P2P_TAG_SIZE, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    check_data(in, size, check_seed(p2p_prev(), size, 1), "sizes");
}

static void p2p_sizes(void)
{
    static const size_t limits[] = {512,
                                    1024,
                                    2048,
                                    4096,
                                    8192,
                                    8256,
                                    16384,
                                    32768,
                                    65536,
                                    128 * CHECK_KIB,
                                    256 * CHECK_KIB,
                                    CHECK_MIB};
    char               *out      = check_alloc(P2P_MAX_SIZE);
    char               *in       = check_alloc(P2P_MAX_SIZE);
    size_t              size, i;

    for (size = 0; size < P2P_SMALL_SIZES; ++size) {
        p2p_one_size(out, in, size);
    }
    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); ++i) {
        for (size = limits[i] - P2P_AROUND; size <= limits[i] + P2P_AROUND;
             ++size) {
            p2p_one_size(out, in, size);
        }
    }
    p2p_one_size(out, in, P2P_MAX_SIZE);
    free(in);
    free(out);
}

static size_t p2p_any_size(int source, int index)
{
    return check_seed(source, index, P2P_TAG_ANY) % (12 * CHECK_KIB);
}

static void p2p_any_receive(void)
{
    int       *next  = calloc(check_size, sizeof(*next));
    int        total = (check_size - 1) * P2P_ANY_COUNT;
    char      *in    = check_alloc(12 * CHECK_KIB);
    MPI_Status status;
    int        i, source, index, count;

    CHECK(next != NULL, "no memory");
    for (i = 0; i < total; ++i) {
        MPI_Recv(in, 12 * CHECK_KIB, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG,
                 MPI_COMM_WORLD, &status);
        MPI_Get_count(&status, MPI_BYTE, &count);
        source = status.MPI_SOURCE;
        index  = next[source]++;
        CHECK(status.MPI_TAG == P2P_TAG_ANY + index,
              "message %d of rank %d overtook: tag %d", index, source,
              status.MPI_TAG);
        CHECK((size_t)count == p2p_any_size(source, index),
              "message %d of rank %d has %d bytes", index, source, count);
        check_data(in, count, check_seed(source, index, 2), "any source");
    }
    free(in);
    free(next);
}

static void p2p_any_send(void)
{
    char  *out = check_alloc(12 * CHECK_KIB);
    size_t size;
    int    i;

    for (i = 0; i < P2P_ANY_COUNT; ++i) {
        size = p2p_any_size(check_rank, i);
        check_fill(out, size, check_seed(check_rank, i, 2));
        MPI_Send(out, size, MPI_BYTE, 0, P2P_TAG_ANY + i, MPI_COMM_WORLD);
    }
    free(out);
}

static void p2p_any_source(void)
{
    if (check_rank == 0) {
        p2p_any_receive();
    } else {
        p2p_any_send();
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static size_t p2p_flight_size(int source, int index)
{
    uint64_t number = check_seed(source, index, 3);

    /* Mostly small ones, some that need a rendezvous */
    return (number % 8 == 0) ? (number >> 8) % P2P_FLIGHT_MAX :
                               (number >> 8) % 256;
}

/* Hundreds of sends and receives in flight between neighbours, the receives
 * posted in the reverse order of the sends */
static void p2p_in_flight(void)
{
    MPI_Request *requests = check_alloc(2 * P2P_FLIGHT * sizeof(*requests));
    char        *out      = check_alloc(P2P_FLIGHT * P2P_FLIGHT_MAX);
    char        *in       = check_alloc(P2P_FLIGHT * P2P_FLIGHT_MAX);
    size_t       size;
    int          i;

    for (i = P2P_FLIGHT - 1; i >= 0; --i) {
        MPI_Irecv(in + i * P2P_FLIGHT_MAX, P2P_FLIGHT_MAX, MPI_BYTE, p2p_prev(),
                  P2P_TAG_MANY + i, MPI_COMM_WORLD, &requests[i]);
    }
    for (i = 0; i < P2P_FLIGHT; ++i) {
        size = p2p_flight_size(check_rank, i);
        check_fill(out + i * P2P_FLIGHT_MAX, size,
                   check_seed(check_rank, i, 4));
        MPI_Isend(out + i * P2P_FLIGHT_MAX, size, MPI_BYTE, p2p_next(),
                  P2P_TAG_MANY + i, MPI_COMM_WORLD, &requests[P2P_FLIGHT + i]);
    }
    MPI_Waitall(2 * P2P_FLIGHT, requests, MPI_STATUSES_IGNORE);
    for (i = 0; i < P2P_FLIGHT; ++i) {
        check_data(in + i * P2P_FLIGHT_MAX, p2p_flight_size(p2p_prev(), i),
                   check_seed(p2p_prev(), i, 4), "in flight");
    }
    free(in);
    free(out);
    free(requests);
}

/* Both neighbours at once, both directions, with messages larger than any
 * ring: each side has to receive in order to get its own data out */
static void p2p_bidirectional(void)
{
    int         peers[2] = {p2p_next(), p2p_prev()};
    char       *out      = check_alloc(CHECK_MIB);
    char       *in[2]    = {check_alloc(CHECK_MIB), check_alloc(CHECK_MIB)};
    MPI_Request requests[4];
    int         i, side;

    for (i = 0; i < P2P_BIDIR; ++i) {
        check_fill(out, CHECK_MIB, check_seed(check_rank, i, 5));
        for (side = 0; side < 2; ++side) {
            MPI_Isend(out, CHECK_MIB, MPI_BYTE, peers[side],
                      P2P_TAG_BIDIR + side, MPI_COMM_WORLD, &requests[side]);
        }
        for (side = 0; side < 2; ++side) {
            MPI_Irecv(in[side], CHECK_MIB, MPI_BYTE, peers[side],
                      P2P_TAG_BIDIR + !side, MPI_COMM_WORLD,
                      &requests[2 + side]);
        }
        MPI_Waitall(4, requests, MPI_STATUSES_IGNORE);
        for (side = 0; side < 2; ++side) {
            check_data(in[side], CHECK_MIB, check_seed(peers[side], i, 5),
                       "both directions");
        }
    }
    free(in[1]);
    free(in[0]);
    free(out);
}

static size_t p2p_unexpected_size(int source, int index)
{
    return check_seed(source, index, 6) % P2P_UNEXP_MAX;
}

/* Everything is sent before the receiver asks for any of it; then it asks in
 * the reverse order */
static void p2p_unexpected(void)
{
    MPI_Request *requests = check_alloc(P2P_UNEXPECTED * sizeof(*requests));
    char        *out      = check_alloc(P2P_UNEXPECTED * P2P_UNEXP_MAX);
    char        *in       = check_alloc(P2P_UNEXP_MAX);
    size_t       size;
    int          i;

    for (i = 0; i < P2P_UNEXPECTED; ++i) {
        size = p2p_unexpected_size(check_rank, i);
        check_fill(out + i * P2P_UNEXP_MAX, size, check_seed(check_rank, i, 7));
        MPI_Isend(out + i * P2P_UNEXP_MAX, size, MPI_BYTE, p2p_next(),
                  P2P_TAG_MANY + i, MPI_COMM_WORLD, &requests[i]);
    }
    MPI_Sendrecv(NULL, 0, MPI_BYTE, p2p_next(), P2P_TAG_GO, NULL, 0, MPI_BYTE,
                 p2p_prev(), P2P_TAG_GO, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    for (i = P2P_UNEXPECTED - 1; i >= 0; --i) {
        size = p2p_unexpected_size(p2p_prev(), i);
        MPI_Recv(in, size, MPI_BYTE, p2p_prev(), P2P_TAG_MANY + i,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        check_data(in, size, check_seed(p2p_prev(), i, 7), "unexpected");
    }
    MPI_Waitall(P2P_UNEXPECTED, requests, MPI_STATUSES_IGNORE);
    free(in);
    free(out);
    free(requests);
}

static void p2p_probe_one(size_t size)
{
    char       *out = check_alloc(size);
    MPI_Request request;
    MPI_Message message;
    MPI_Status  status;
    int         count;
    char       *in;

    check_fill(out, size, check_seed(check_rank, size, 8));
    MPI_Isend(out, size, MPI_BYTE, p2p_next(), P2P_TAG_PROBE, MPI_COMM_WORLD,
              &request);
    MPI_Mprobe(MPI_ANY_SOURCE, P2P_TAG_PROBE, MPI_COMM_WORLD, &message,
               &status);
    MPI_Get_count(&status, MPI_BYTE, &count);
    CHECK((size_t)count == size, "probe says %d bytes, not %zu", count, size);
    in = check_alloc(count);
    MPI_Mrecv(in, count, MPI_BYTE, &message, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    check_data(in, size, check_seed(status.MPI_SOURCE, size, 8), "probe");
    free(in);
    free(out);
}

static void p2p_probe(void)
{
    size_t size;

    for (size = 1; size <= CHECK_MIB; size *= 4) {
        p2p_probe_one(size);
        /* The next size may not be probed by a rank that is still at this */
        MPI_Barrier(MPI_COMM_WORLD);
    }
}

static void p2p_synchronous(size_t size)
{
    char       *out = check_alloc(size);
    char       *in  = check_alloc(size);
    MPI_Request request;

    check_fill(out, size, check_seed(check_rank, size, 9));
    MPI_Issend(out, size, MPI_BYTE, p2p_next(), P2P_TAG_MODE, MPI_COMM_WORLD,
               &request);
    MPI_Recv(in, size, MPI_BYTE, p2p_prev(), P2P_TAG_MODE, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    check_data(in, size, check_seed(p2p_prev(), size, 9), "synchronous");
    free(in);
    free(out);
}

static void p2p_persistent(size_t size)
{
    char       *out = check_alloc(size);
    char       *in  = check_alloc(size);
    MPI_Request requests[2];
    int         round;

    MPI_Send_init(out, size, MPI_BYTE, p2p_next(), P2P_TAG_MODE, MPI_COMM_WORLD,
                  &requests[0]);
    MPI_Recv_init(in, size, MPI_BYTE, p2p_prev(), P2P_TAG_MODE, MPI_COMM_WORLD,
                  &requests[1]);
    for (round = 0; round < 10; ++round) {
        check_fill(out, size, check_seed(check_rank, size, 20 + round));
        MPI_Startall(2, requests);
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        check_data(in, size, check_seed(p2p_prev(), size, 20 + round),
                   "persistent");
    }
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
    free(in);
    free(out);
}

static void p2p_modes(void)
{
    size_t size;

    for (size = 1; size <= CHECK_MIB; size *= 8) {
        p2p_synchronous(size);
        p2p_persistent(size);
    }
}

/* A few columns of a matrix are sent as they lie, and arrive in one piece */
static void p2p_columns(int columns)
{
    size_t       row_size = P2P_COLUMNS * sizeof(int);
    int         *matrix   = check_alloc(P2P_ROWS * row_size);
    int         *column   = check_alloc(P2P_ROWS * columns * sizeof(int));
    MPI_Datatype type;
    MPI_Request  request;
    int          i, j, expected;

    for (i = 0; i < P2P_ROWS * P2P_COLUMNS; ++i) {
        matrix[i] = i * check_size + check_rank;
    }
    MPI_Type_vector(P2P_ROWS, columns, P2P_COLUMNS, MPI_INT, &type);
    MPI_Type_commit(&type);
    MPI_Isend(matrix + 1, 1, type, p2p_next(), P2P_TAG_TYPE, MPI_COMM_WORLD,
              &request);
    MPI_Recv(column, P2P_ROWS * columns, MPI_INT, p2p_prev(), P2P_TAG_TYPE,
             MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    for (i = 0; i < P2P_ROWS; ++i) {
        for (j = 0; j < columns; ++j) {
            expected = (i * P2P_COLUMNS + 1 + j) * check_size + p2p_prev();
            CHECK(column[i * columns + j] == expected,
                  "row %d, column %d is %d, not %d", i, j,
                  column[i * columns + j], expected);
        }
    }
    check_count(P2P_ROWS * columns * sizeof(int));
    MPI_Type_free(&type);
    free(column);
    free(matrix);
}

/* Contiguous on the sending side, with holes on the receiving side: what lies
 * in the holes must stay as it was */
static void p2p_holes(int count)
{
    typedef struct {
        char   mark;
        char   hole[7];
        double value;
    } record_t;

    int      lengths[] = {1, 1};
    MPI_Aint offsets[] = {offsetof(record_t, mark), offsetof(record_t, value)};
    MPI_Datatype members[] = {MPI_CHAR, MPI_DOUBLE};
    record_t    *out       = check_alloc(count * sizeof(*out));
    record_t    *in        = check_alloc(count * sizeof(*in));
    MPI_Datatype packed, type;
    int          i;

    MPI_Type_create_struct(2, lengths, offsets, members, &packed);
    MPI_Type_create_resized(packed, 0, sizeof(record_t), &type);
    MPI_Type_commit(&type);
    for (i = 0; i < count; ++i) {
        memset(&out[i], 'o', sizeof(out[i]));
        memset(&in[i], 'i', sizeof(in[i]));
        out[i].mark  = (char)(i + check_rank);
        out[i].value = i + 0.5 * check_rank;
    }
    MPI_Sendrecv(out, count, type, p2p_next(), P2P_TAG_TYPE, in, count, type,
                 p2p_prev(), P2P_TAG_TYPE, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    for (i = 0; i < count; ++i) {
        CHECK(in[i].mark == (char)(i + p2p_prev()), "mark of record %d", i);
        CHECK(in[i].value == i + 0.5 * p2p_prev(), "value of record %d", i);
        CHECK(memcmp(in[i].hole, "iiiiiii", sizeof(in[i].hole)) == 0,
              "hole of record %d was written", i);
    }
    check_count((uint64_t)count * (sizeof(char) + sizeof(double)));
    MPI_Type_free(&type);
    MPI_Type_free(&packed);
    free(in);
    free(out);
}

static void p2p_types(void)
{
    static const int counts[] = {1, 10, 500, 1000, 20000};
    size_t           i;

    p2p_columns(1);
    p2p_columns(3);
    p2p_columns(P2P_COLUMNS - 1);
    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); ++i) {
        p2p_holes(counts[i]);
    }
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    p2p_sizes();
    p2p_any_source();
    p2p_in_flight();
    p2p_bidirectional();
    p2p_unexpected();
    p2p_probe();
    p2p_modes();
    p2p_types();
    return check_finish("p2p");
}
