/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The device "local" and other users of this machine. Only root can be several.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setresuid() */
#endif

#include "test_raw.h"
#include "test_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>


#define TEST_OTHER_USER 54321


static void test_become_other_user(void)
{
    xshm_test_check(
            setresuid(TEST_OTHER_USER, TEST_OTHER_USER, TEST_OTHER_USER) == 0);
}

/* Connects to a service of root's, as root would */
static void test_peer_intrude(int fd, void *arg)
{
    struct sockaddr_un sockaddr;
    uint64_t           process;
    socklen_t          length;
    int                socket_fd;

    xshm_test_get(fd, &process, sizeof(process));
    test_become_other_user();
    length    = xshm_local_sockaddr(0, process, &sockaddr);
    socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    xshm_test_check(connect(socket_fd, (struct sockaddr *)&sockaddr, length) ==
                    0);
    xshm_test_check(xshm_raw_is_closed(socket_fd));
}

static void test_other_user_connects(void **state)
{
    xshm_test_side_t side;
    xshm_test_peer_t peer;

    xshm_test_peer_start(&peer, test_peer_intrude, NULL);
    xshm_test_side_open(&side);
    xshm_test_put(peer.fd, &side.platform->process,
                  sizeof(side.platform->process));
    xshm_test_peer_join(&peer);
    assert_int_equal(xshm_test_log_count("refused a peer of user 54321"), 1);
    xshm_test_side_close(&side);
}

/* Has taken the name of a process of root's. It must be told nothing. */
static void test_peer_squat(int fd, void *arg)
{
    struct sockaddr_un sockaddr;
    xshm_local_msg_t   msg;
    uint64_t           process;
    socklen_t          length;
    int                listener, accepted;

    test_become_other_user();
    process  = (uint64_t)getpid();
    length   = xshm_local_sockaddr(0, process, &sockaddr);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    xshm_test_check(bind(listener, (struct sockaddr *)&sockaddr, length) == 0);
    xshm_test_check(listen(listener, 1) == 0);
    xshm_test_put(fd, &process, sizeof(process));

    accepted = xshm_raw_accept(listener);
    xshm_test_check(recv(accepted, &msg, sizeof(msg), 0) == 0);
}

static void test_squatted_name(void **state)
{
    xshm_iface_addr_t target;
    uint64_t          process;
    xshm_test_side_t  side;
    xshm_test_peer_t  peer;
    xshm_tx_t        *tx;

    xshm_test_peer_start(&peer, test_peer_squat, NULL);
    xshm_test_side_open(&side);
    target = side.mailbox->addr;
    xshm_test_get(peer.fd, &process, sizeof(process));
    target.process = process;
    tx             = xshm_test_tx_open(&side, &target);
    xshm_test_side_wait(&side, side.num_tx_gone == 1);
    assert_int_equal(side.num_accepted, 0);
    assert_int_equal(xshm_test_log_count("refused a peer of user 54321"), 1);
    xshm_tx_close(tx);
    xshm_test_peer_join(&peer);
    xshm_test_side_close(&side);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_other_user_connects),
            cmocka_unit_test(test_squatted_name)};

    if (geteuid() != 0) {
        printf("1..0 # SKIP only root can be another user\n");
        return EXIT_SUCCESS;
    }

    xshm_test_log_start();
    xshm_test_reset = xshm_service_stop;
    return xshm_test_run_on_devices("local_users", tests,
                                    XSHM_TEST_ARRAY_SIZE(tests));
}
