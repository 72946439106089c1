/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * isolate: run a command with a network, a host name, or a /dev/shm of its own,
 * and say how many bytes went over its loopback interface.
 *
 * A job in a network of its own can reach nothing but itself, and what the
 * loopback's counter shows is all that it sent over TCP. A job with a host
 * name of its own is another node to MPI. As root, or as a user where the
 * kernel lets users have namespaces.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ISOLATE_NOT_POSSIBLE 125 /* Exit status, as timeout and env have it */
#define ISOLATE_NOT_FOUND    127
#define ISOLATE_BY_SIGNAL    128 /* To be added to the signal's number */
#define ISOLATE_LOOPBACK     "lo"
#define ISOLATE_SHM          "/dev/shm"

typedef struct {
    int         network;
    int         shm;
    const char *hostname;
    const char *report; /* File that gets the number of bytes */
} isolate_options_t;

static pid_t isolate_child;

static void isolate_fail(const char *fmt, ...)
        __attribute__((noreturn, format(printf, 1, 2)));

static void isolate_fail(const char *fmt, ...)
{
    int     error = errno;
    va_list ap;

    fprintf(stderr, "isolate: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, ": %s\n", strerror(error));
    exit(ISOLATE_NOT_POSSIBLE);
}

static void isolate_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    if ((fd < 0) || (write(fd, text, strlen(text)) != (ssize_t)strlen(text))) {
        isolate_fail("cannot write \"%s\" to %s", text, path);
    }
    close(fd);
}

/* A user gets a namespace of users first, in which he is root */
static void isolate_as_user(int flags)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char  map[64];

    if (unshare(CLONE_NEWUSER | flags) != 0) {
        isolate_fail("cannot have namespaces as user %d: run as root, or let "
                     "users have them (sysctl "
                     "kernel.unprivileged_userns_clone, "
                     "user.max_user_namespaces)",
                     (int)uid);
    }
    snprintf(map, sizeof(map), "0 %d 1\n", (int)uid);
    isolate_write("/proc/self/uid_map", map);
    isolate_write("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %d 1\n", (int)gid);
    isolate_write("/proc/self/gid_map", map);
}

static void isolate_loopback_up(void)
{
    struct ifreq request = {.ifr_name = ISOLATE_LOOPBACK};
    int          fd      = socket(AF_INET, SOCK_DGRAM, 0);

    if ((fd < 0) || (ioctl(fd, SIOCGIFFLAGS, &request) != 0)) {
        isolate_fail("cannot read the flags of " ISOLATE_LOOPBACK);
    }
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) {
        isolate_fail("cannot start " ISOLATE_LOOPBACK);
    }
    close(fd);
}

/* Empty at first, so that whatever is in it later was left by the command */
static void isolate_mount_shm(void)
{
    if ((mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) ||
        (mount("tmpfs", ISOLATE_SHM, "tmpfs", MS_NOSUID | MS_NODEV, NULL) !=
         0)) {
        isolate_fail("cannot mount a new " ISOLATE_SHM);
    }
}

static void isolate_enter(const isolate_options_t *options)
{
    int flags = (options->network ? CLONE_NEWNET : 0) |
                (options->shm ? CLONE_NEWNS : 0) |
                ((options->hostname != NULL) ? CLONE_NEWUTS : 0);

    if (unshare(flags) != 0) {
        isolate_as_user(flags);
    }
    if (options->network) {
        isolate_loopback_up();
    }
    if (options->shm) {
        isolate_mount_shm();
    }
    if ((options->hostname != NULL) &&
        (sethostname(options->hostname, strlen(options->hostname)) != 0)) {
        isolate_fail("cannot set the host name \"%s\"", options->hostname);
    }
}

static unsigned long isolate_loopback_bytes(void)
{
    FILE         *file = fopen("/proc/self/net/dev", "r");
    unsigned long bytes;
    char          line[512], name[IFNAMSIZ + 1];

    if (file == NULL) {
        isolate_fail("cannot read /proc/self/net/dev");
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if ((sscanf(line, " %16[^:]: %lu", name, &bytes) == 2) &&
            (strcmp(name, ISOLATE_LOOPBACK) == 0)) {
            fclose(file);
            return bytes;
        }
    }
    errno = ENODEV;
    isolate_fail("no " ISOLATE_LOOPBACK " in /proc/self/net/dev");
}

static void isolate_report(const char *path)
{
    FILE *file = fopen(path, "w");

    if ((file == NULL) ||
        (fprintf(file, "%lu\n", isolate_loopback_bytes()) < 0) ||
        (fclose(file) != 0)) {
        isolate_fail("cannot write the report \"%s\"", path);
    }
}

static void isolate_forward(int signal)
{
    kill(isolate_child, signal);
}

static int isolate_run(char **command)
{
    int status;

    isolate_child = fork();
    if (isolate_child < 0) {
        isolate_fail("cannot fork");
    } else if (isolate_child == 0) {
        execvp(command[0], command);
        fprintf(stderr, "isolate: cannot run \"%s\": %s\n", command[0],
                strerror(errno));
        _exit(ISOLATE_NOT_FOUND);
    }

    signal(SIGTERM, isolate_forward);
    signal(SIGINT, isolate_forward);
    while (waitpid(isolate_child, &status, 0) < 0) {
        if (errno != EINTR) {
            isolate_fail("cannot wait for \"%s\"", command[0]);
        }
    }
    return WIFSIGNALED(status) ? ISOLATE_BY_SIGNAL + WTERMSIG(status) :
                                 WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    isolate_options_t options = {0};
    int               c, status;

    while ((c = getopt(argc, argv, "+nsu:r:")) != -1) {
        switch (c) {
        case 'n':
            options.network = 1;
            break;
        case 's':
            options.shm = 1;
            break;
        case 'u':
            options.hostname = optarg;
            break;
        case 'r':
            options.report = optarg;
            break;
        default:
            optind = argc;
            break;
        }
    }
    if (optind >= argc) {
        fprintf(stderr,
                "usage: isolate [-n] [-s] [-u hostname] [-r report-file] "
                "command...\n");
        return ISOLATE_NOT_POSSIBLE;
    }

    isolate_enter(&options);
    status = isolate_run(&argv[optind]);
    if (options.report != NULL) {
        isolate_report(options.report);
    }
    return status;
}
