/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() and seals */
#endif

#include "local_wire.h"
#include "../fdset.h"
#include "../complain.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>


/* What to do when there is no memory for a ring */
#define XSHM_LOCAL_RING_ADVICE "Free some memory, or lower UCX_XSHM_RING_SIZE"

/* Blocks are counted in this unit, whatever the file system: stat(2) */
#define XSHM_LOCAL_BLOCK_SIZE 512

enum {
    XSHM_LOCAL_FD_DATA,
    XSHM_LOCAL_FD_RETURN
};


static void *xshm_local_mmap(int fd, size_t size, int prot)
{
    void *ptr = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

    if (ptr == MAP_FAILED) {
        xshm_complain("xshm: cannot map %zu bytes of shared memory: %m. If "
                      "many peers are connected, raise vm.max_map_count "
                      "(sysctl)",
                      size);
        return NULL;
    }

    /* The parent's death must be noticed while a forked child lives on */
    madvise(ptr, size, MADV_DONTFORK);
    return ptr;
}

/* Memory file with all its pages allocated now, since later there is no way
 * to report that there are none. */
int xshm_local_memfd(const char *name, size_t size, const char *advice)
{
    int fd, ret;

    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        ucs_error("xshm: cannot create a memory file of %zu bytes: %m. If "
                  "there are too many open files, raise ulimit -n",
                  size);
        return -1;
    }

    ret = posix_fallocate(fd, 0, size);
    if (ret != 0) {
        errno = ret;
        ucs_error("xshm: cannot allocate %zu bytes of shared memory: %m. %s",
                  size, advice);
        close(fd);
        return -1;
    }

    return xshm_fdset_add(fd);
}

ucs_status_t xshm_local_seal(int fd, int seals)
{
    if (fcntl(fd, F_ADD_SEALS, seals | F_SEAL_SEAL) != 0) {
        ucs_error("xshm: cannot seal a memory file (seals 0x%x): %m. Linux "
                  "5.1 or newer is needed",
                  seals);
        return UCS_ERR_UNSUPPORTED;
    }

    return UCS_OK;
}

static xshm_local_mem_t *xshm_local_mem_new(void)
{
    xshm_local_mem_t *mem = calloc(1, sizeof(*mem));

    if (mem == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a channel",
                  sizeof(*mem));
        return NULL;
    }

    mem->fds[XSHM_LOCAL_FD_DATA]   = -1;
    mem->fds[XSHM_LOCAL_FD_RETURN] = -1;
    return mem;
}

void xshm_local_mem_close_fds(xshm_local_mem_t *mem)
{
    int i;

    for (i = 0; i < XSHM_LOCAL_NUM_FDS; ++i) {
        xshm_fdset_close(mem->fds[i]);
        mem->fds[i] = -1;
    }
}

void xshm_local_mem_free(xshm_mem_t *super)
{
    xshm_local_mem_t *mem = (xshm_local_mem_t *)super;

    if (mem->super.data != NULL) {
        munmap(mem->super.data, mem->super.data_size);
    }

    if (mem->super.ret != NULL) {
        munmap(mem->super.ret, XSHM_ABI_RETURN_SIZE);
    }

    xshm_local_mem_close_fds(mem);
    free(mem);
}

/* Both mappings, or none: on failure the caller frees what is there */
static ucs_status_t xshm_local_mem_map_both(xshm_local_mem_t *mem,
                                            const int *fds, size_t data_size,
                                            int data_prot)
{
    mem->super.data_size = data_size;
    mem->super.data =
            xshm_local_mmap(fds[XSHM_LOCAL_FD_DATA], data_size, data_prot);
    if (mem->super.data == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    mem->super.ret =
            xshm_local_mmap(fds[XSHM_LOCAL_FD_RETURN], XSHM_ABI_RETURN_SIZE,
                            PROT_READ | PROT_WRITE);
    return (mem->super.ret == NULL) ? UCS_ERR_NO_MEMORY : UCS_OK;
}

/* Both files, or none: on failure the caller closes what is there */
static ucs_status_t
xshm_local_mem_create_fds(xshm_local_mem_t *mem, size_t data_size)
{
    int *fds = mem->fds;

    fds[XSHM_LOCAL_FD_DATA] =
            xshm_local_memfd("xshm-data", data_size, XSHM_LOCAL_RING_ADVICE);
    if (fds[XSHM_LOCAL_FD_DATA] < 0) {
        return UCS_ERR_NO_MEMORY;
    }

    fds[XSHM_LOCAL_FD_RETURN] =
            xshm_local_memfd("xshm-return", XSHM_ABI_RETURN_SIZE,
                             XSHM_LOCAL_RING_ADVICE);
    return (fds[XSHM_LOCAL_FD_RETURN] < 0) ? UCS_ERR_NO_MEMORY : UCS_OK;
}

/* Our own mapping is writable; from now on no other of the data can be */
static ucs_status_t xshm_local_mem_seal_fds(const xshm_local_mem_t *mem)
{
    ucs_status_t status;

    status = xshm_local_seal(mem->fds[XSHM_LOCAL_FD_DATA],
                             XSHM_LOCAL_SIZE_SEALS | F_SEAL_FUTURE_WRITE);
    if (status != UCS_OK) {
        return status;
    }

    return xshm_local_seal(mem->fds[XSHM_LOCAL_FD_RETURN],
                           XSHM_LOCAL_SIZE_SEALS);
}

ucs_status_t xshm_local_mem_alloc(xshm_platform_t *platform,
                                  const void *dev_addr, size_t data_size,
                                  xshm_mem_t **mem_p)
{
    xshm_local_mem_t *mem;
    ucs_status_t      status;

    (void)platform;
    (void)dev_addr;

    mem = xshm_local_mem_new();
    if (mem == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    status = xshm_local_mem_create_fds(mem, data_size);
    if (status != UCS_OK) {
        goto err_free_mem;
    }

    status = xshm_local_mem_map_both(mem, mem->fds, data_size,
                                     PROT_READ | PROT_WRITE);
    if (status != UCS_OK) {
        goto err_free_mem;
    }

    status = xshm_local_mem_seal_fds(mem);
    if (status != UCS_OK) {
        goto err_free_mem;
    }

    *mem_p = &mem->super;
    return UCS_OK;

err_free_mem:
    xshm_local_mem_free(&mem->super);
    return status;
}

int xshm_local_memfd_check(int fd, size_t size, int seals)
{
    struct stat st = {0};
    int         have;

    have = fcntl(fd, F_GET_SEALS);
    if ((have < 0) || ((have & seals) != seals)) {
        xshm_complain(
                "xshm: refused a peer's memory: seals are 0x%x, and 0x%x are "
                "needed",
                have, seals);
        return 0;
    }

    if ((fstat(fd, &st) != 0) || (st.st_size < 0) ||
        ((size_t)st.st_size != size) ||
        (((size_t)st.st_blocks * XSHM_LOCAL_BLOCK_SIZE) < size)) {
        xshm_complain("xshm: refused a peer's memory: it has %zu bytes (%zu "
                      "allocated), and %zu were announced",
                      (size_t)st.st_size,
                      (size_t)st.st_blocks * XSHM_LOCAL_BLOCK_SIZE, size);
        return 0;
    }

    return 1;
}

ucs_status_t
xshm_local_mem_map(const int *fds, size_t data_size, xshm_mem_t **mem_p)
{
    xshm_local_mem_t *mem;
    ucs_status_t      status;

    if (!xshm_local_memfd_check(fds[XSHM_LOCAL_FD_DATA], data_size,
                                XSHM_LOCAL_SIZE_SEALS | F_SEAL_FUTURE_WRITE) ||
        !xshm_local_memfd_check(fds[XSHM_LOCAL_FD_RETURN], XSHM_ABI_RETURN_SIZE,
                                XSHM_LOCAL_SIZE_SEALS)) {
        return UCS_ERR_INVALID_PARAM;
    }

    mem = xshm_local_mem_new();
    if (mem == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    status = xshm_local_mem_map_both(mem, fds, data_size, PROT_READ);
    if (status != UCS_OK) {
        xshm_local_mem_free(&mem->super);
        return status;
    }

    *mem_p = &mem->super;
    return UCS_OK;
}
