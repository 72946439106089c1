/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Run a program on a kernel without the system call membarrier: a filter makes it
 * fail, as it does where the kernel was built without it.
 *
 * usage: no_membarrier PROGRAM [ARGUMENT...]
 */

#define _GNU_SOURCE

#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>


static void check(int is_good, const char *what)
{
    if (!is_good) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static void forbid(void)
{
    struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                     offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len    = sizeof(filter) / sizeof(filter[0]),
                                 .filter = filter};

    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
          "PR_SET_SECCOMP");
    /* A filter that does nothing would make all tests pass */
    check((syscall(__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) < 0) &&
                  (errno == ENOSYS),
          "membarrier is still there");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: no_membarrier PROGRAM [ARGUMENT...]\n");
        return EXIT_FAILURE;
    }

    forbid();
    execvp(argv[1], &argv[1]);
    perror(argv[1]);
    return EXIT_FAILURE;
}
