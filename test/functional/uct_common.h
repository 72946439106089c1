/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Shared by the test programs that use UCT's public interface.
 */

#ifndef XSHM_TEST_UCT_COMMON_H_
#define XSHM_TEST_UCT_COMMON_H_

#include <stdint.h>
#include <uct/api/uct.h>

#define UTEST_ADDRESS_MAX 256 /* Bytes of each part of an address */
#define UTEST_TEXT_MAX    (4 * UTEST_ADDRESS_MAX + 2)

/** What a process has once: a worker, and the transport's memory domain. */
typedef struct {
    const char          *tl_name;
    const char          *dev_name;
    ucs_async_context_t *async;
    uct_worker_h         worker;
    uct_component_h      component;
    uct_md_h             md;
} utest_context_t;

/** An open interface with its address. */
typedef struct {
    utest_context_t *context;
    uct_iface_h      iface;
    uct_iface_attr_t attr;
} utest_iface_t;

/** Somebody's address, as it travels between processes. */
typedef struct {
    uint8_t device[UTEST_ADDRESS_MAX];
    uint8_t iface[UTEST_ADDRESS_MAX];
    size_t  device_length;
    size_t  iface_length;
} utest_address_t;

/** How to send an active message. */
typedef enum {
    UTEST_SHORT,
    UTEST_BCOPY,
    UTEST_ZCOPY
} utest_mode_t;

/** Print a message and end the program with status 1. */
void utest_fail(const char *fmt, ...)
        __attribute__((noreturn, format(printf, 1, 2)));

/** End the program unless @a status is UCS_OK. */
void utest_check(ucs_status_t status, const char *what);

/** Seconds of a clock that only goes forward. */
double utest_now(void);

/** Open the memory domain that has the named transport and device. */
void utest_context_open(utest_context_t *context, const char *tl_name,
                        const char *dev_name);

void utest_context_close(utest_context_t *context);

/**
 * Open an interface.
 *
 * @param [in] handler  Called when an endpoint fails, or NULL.
 * @param [in] arg      For @a handler.
 */
void utest_iface_open(utest_iface_t *iface, utest_context_t *context,
                      uct_error_handler_t handler, void *arg);

void utest_iface_close(utest_iface_t *iface);

/** Read the address of an interface of our own. */
void utest_address_get(utest_iface_t *iface, utest_address_t *address);

/** Write an address as text, of at most UTEST_TEXT_MAX bytes. */
void utest_address_print(const utest_address_t *address, char *text);

/** Read what utest_address_print() wrote. */
void utest_address_parse(utest_address_t *address, const char *text);

/**
 * Read hexadecimal digits, two a byte, at most UTEST_ADDRESS_MAX bytes.
 *
 * @return What follows them.
 */
const char *utest_hex_parse(const char *text, uint8_t *bytes, size_t *length_p);

int utest_is_reachable(utest_iface_t *iface, const utest_address_t *address);

ucs_status_t utest_connect(utest_iface_t *iface, const utest_address_t *address,
                           uct_ep_h *ep_p);

/**
 * Send one active message once, whatever comes of it.
 *
 * @return UCS_OK, UCS_ERR_NO_RESOURCE, or an error.
 */
ucs_status_t utest_try_send(utest_iface_t *iface, uct_ep_h ep, uint8_t id,
                            utest_mode_t mode, uint64_t header,
                            const void *data, size_t length);

/** The same, with progress until there is room or @a deadline has passed. */
ucs_status_t utest_send(utest_iface_t *iface, uct_ep_h ep, uint8_t id,
                        utest_mode_t mode, uint64_t header, const void *data,
                        size_t length, double deadline);

/**
 * Write a word of a peer's memory, with progress until it could be sent or
 * @a deadline has passed.
 */
ucs_status_t utest_put(utest_iface_t *iface, uct_ep_h ep, uint64_t address,
                       uct_rkey_t rkey, uint64_t value, double deadline);

/** Flush an endpoint, with progress until it is done or @a deadline. */
ucs_status_t utest_flush(utest_iface_t *iface, uct_ep_h ep, double deadline);

/** Largest message that can be sent that way, without the header. */
size_t utest_max_length(const utest_iface_t *iface, utest_mode_t mode);

/** Fill a buffer with bytes that follow from @a seed. */
void utest_fill(void *buffer, size_t length, uint64_t seed);

/** Whether a buffer holds what utest_fill() wrote. */
int utest_is_filled(const void *buffer, size_t length, uint64_t seed);

/** Elements that utest_iov_init() sets */
#define UTEST_IOV_COUNT 4

/** Describe a buffer in two parts, with two elements between them that add
 *  nothing: one of no length, and one that there is not, however long it were. */
void utest_iov_init(uct_iov_t *iov, const void *buffer, size_t length);

/** Numbers of entries of /proc/self/fd. */
long utest_count_fds(void);

/** Those of them that are timers. */
long utest_count_timers(void);

/** Bytes from malloc() that are in use. */
size_t utest_count_heap(void);

/**
 * Number of mappings of this process.
 *
 * @param [out] shared_bytes_p  Length of those that are shared, if not NULL.
 */
long utest_count_maps(uint64_t *shared_bytes_p);

/** Resident memory of this process, in bytes. */
uint64_t utest_resident(void);

#endif
