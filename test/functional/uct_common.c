/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#define _GNU_SOURCE

#include "uct_common.h"

#include <dirent.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define UTEST_STEP      0x9e3779b97f4a7c15UL
#define UTEST_MIX       0xbf58476d1ce4e5b9UL
#define UTEST_MIX_SHIFT 30
#define UTEST_KIB       1024UL

/* What a descriptor of timerfd_create() is called */
#define UTEST_TIMER "anon_inode:[timerfd]"

void utest_fail(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "failed: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

void utest_check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK) {
        utest_fail("%s: %s", what, ucs_status_string(status));
    }
}

double utest_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static int
utest_md_has_device(uct_md_h md, const char *tl_name, const char *dev_name)
{
    uct_tl_resource_desc_t *resources;
    unsigned                count, i;
    int                     found = 0;

    utest_check(uct_md_query_tl_resources(md, &resources, &count),
                "uct_md_query_tl_resources");
    for (i = 0; i < count; ++i) {
        found |= !strcmp(resources[i].tl_name, tl_name) &&
                 !strcmp(resources[i].dev_name, dev_name);
    }
    uct_release_tl_resource_list(resources);
    return found;
}

static uct_md_h utest_md_open(uct_component_h component, const char *md_name)
{
    uct_md_config_t *config;
    uct_md_h         md = NULL;

    utest_check(uct_md_config_read(component, NULL, NULL, &config),
                "uct_md_config_read");
    /* One that does not open has no device of ours: the caller complains */
    if (uct_md_open(component, md_name, config, &md) != UCS_OK) {
        md = NULL;
    }
    uct_config_release(config);
    return md;
}

static uct_md_h utest_component_find(uct_component_h component,
                                     const char *tl_name, const char *dev_name)
{
    uct_component_attr_t attr = {
            .field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT};
    uct_md_h md = NULL;
    unsigned i;

    utest_check(uct_component_query(component, &attr), "uct_component_query");
    attr.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
    attr.md_resources =
            calloc(attr.md_resource_count + 1, sizeof(*attr.md_resources));
    utest_check(uct_component_query(component, &attr), "uct_component_query");
    for (i = 0; (md == NULL) && (i < attr.md_resource_count); ++i) {
        md = utest_md_open(component, attr.md_resources[i].md_name);
        if ((md != NULL) && !utest_md_has_device(md, tl_name, dev_name)) {
            uct_md_close(md);
            md = NULL;
        }
    }
    free(attr.md_resources);
    return md;
}

void utest_context_open(utest_context_t *context, const char *tl_name,
                        const char *dev_name)
{
    uct_component_h *components;
    unsigned         count, i;

    context->tl_name  = tl_name;
    context->dev_name = dev_name;
    context->md       = NULL;
    utest_check(ucs_async_context_create(UCS_ASYNC_MODE_THREAD_SPINLOCK,
                                         &context->async),
                "ucs_async_context_create");
    utest_check(uct_worker_create(context->async, UCS_THREAD_MODE_SINGLE,
                                  &context->worker),
                "uct_worker_create");
    utest_check(uct_query_components(&components, &count),
                "uct_query_components");
    for (i = 0; (context->md == NULL) && (i < count); ++i) {
        context->component = components[i];
        context->md = utest_component_find(components[i], tl_name, dev_name);
        context->component = components[i];
    }
    uct_release_component_list(components);
    if (context->md == NULL) {
        utest_fail("UCX has no transport \"%s\" with a device \"%s\"", tl_name,
                   dev_name);
    }
}

void utest_context_close(utest_context_t *context)
{
    uct_md_close(context->md);
    uct_worker_destroy(context->worker);
    ucs_async_context_destroy(context->async);
}

void utest_iface_open(utest_iface_t *iface, utest_context_t *context,
                      uct_error_handler_t handler, void *arg)
{
    uct_iface_params_t params = {.field_mask = UCT_IFACE_PARAM_FIELD_OPEN_MODE |
                                               UCT_IFACE_PARAM_FIELD_DEVICE,
                                 .open_mode = UCT_IFACE_OPEN_MODE_DEVICE,
                                 .mode.device.tl_name  = context->tl_name,
                                 .mode.device.dev_name = context->dev_name};
    uct_iface_config_t *config;

    if (handler != NULL) {
        params.field_mask |= UCT_IFACE_PARAM_FIELD_ERR_HANDLER |
                             UCT_IFACE_PARAM_FIELD_ERR_HANDLER_ARG |
                             UCT_IFACE_PARAM_FIELD_ERR_HANDLER_FLAGS;
        params.err_handler       = handler;
        params.err_handler_arg   = arg;
        params.err_handler_flags = 0;
    }

    iface->context = context;
    utest_check(uct_md_iface_config_read(context->md, context->tl_name, NULL,
                                         NULL, &config),
                "uct_md_iface_config_read");
    utest_check(uct_iface_open(context->md, context->worker, &params, config,
                               &iface->iface),
                "uct_iface_open");
    uct_config_release(config);
    uct_iface_progress_enable(iface->iface,
                              UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
    utest_check(uct_iface_query(iface->iface, &iface->attr), "uct_iface_query");
}

void utest_iface_close(utest_iface_t *iface)
{
    uct_iface_close(iface->iface);
}

void utest_address_get(utest_iface_t *iface, utest_address_t *address)
{
    address->device_length = iface->attr.device_addr_len;
    address->iface_length  = iface->attr.iface_addr_len;
    if ((address->device_length > UTEST_ADDRESS_MAX) ||
        (address->iface_length > UTEST_ADDRESS_MAX)) {
        utest_fail("an address of %zu and %zu bytes", address->device_length,
                   address->iface_length);
    }
    utest_check(uct_iface_get_device_address(
                        iface->iface, (uct_device_addr_t *)address->device),
                "uct_iface_get_device_address");
    utest_check(uct_iface_get_address(iface->iface,
                                      (uct_iface_addr_t *)address->iface),
                "uct_iface_get_address");
}

static char *utest_hex_print(char *text, const uint8_t *bytes, size_t length)
{
    size_t i;

    for (i = 0; i < length; ++i) {
        text += sprintf(text, "%02x", bytes[i]);
    }
    return text;
}

void utest_address_print(const utest_address_t *address, char *text)
{
    text    = utest_hex_print(text, address->device, address->device_length);
    *text++ = ':';
    text    = utest_hex_print(text, address->iface, address->iface_length);
    *text   = '\0';
}

const char *utest_hex_parse(const char *text, uint8_t *bytes, size_t *length_p)
{
    unsigned value;
    size_t   length = 0;

    while ((length < UTEST_ADDRESS_MAX) && (sscanf(text, "%2x", &value) == 1)) {
        bytes[length++] = (uint8_t)value;
        text += 2;
    }
    *length_p = length;
    return text;
}

void utest_address_parse(utest_address_t *address, const char *text)
{
    const char *rest;

    rest = utest_hex_parse(text, address->device, &address->device_length);
    if (*rest != ':') {
        utest_fail("\"%s\" is no address", text);
    }
    rest = utest_hex_parse(rest + 1, address->iface, &address->iface_length);
    if (*rest != '\0') {
        utest_fail("\"%s\" is no address", text);
    }
}

int utest_is_reachable(utest_iface_t *iface, const utest_address_t *address)
{
    return uct_iface_is_reachable(iface->iface,
                                  (const uct_device_addr_t *)address->device,
                                  (const uct_iface_addr_t *)address->iface);
}

ucs_status_t utest_connect(utest_iface_t *iface, const utest_address_t *address,
                           uct_ep_h *ep_p)
{
    uct_ep_params_t params = {
            .field_mask = UCT_EP_PARAM_FIELD_IFACE |
                          UCT_EP_PARAM_FIELD_DEV_ADDR |
                          UCT_EP_PARAM_FIELD_IFACE_ADDR,
            .iface      = iface->iface,
            .dev_addr   = (const uct_device_addr_t *)address->device,
            .iface_addr = (const uct_iface_addr_t *)address->iface};

    return uct_ep_create(&params, ep_p);
}

typedef struct {
    uint64_t    header;
    const void *data;
    size_t      length;
} utest_pack_t;

static size_t utest_pack(void *dest, void *arg)
{
    const utest_pack_t *pack = arg;

    memcpy(dest, &pack->header, sizeof(pack->header));
    memcpy((char *)dest + sizeof(pack->header), pack->data, pack->length);
    return sizeof(pack->header) + pack->length;
}

static ucs_status_t utest_send_bcopy(uct_ep_h ep, uint8_t id, uint64_t header,
                                     const void *data, size_t length)
{
    utest_pack_t pack   = {header, data, length};
    ssize_t      packed = uct_ep_am_bcopy(ep, id, utest_pack, &pack, 0);

    return (packed < 0) ? (ucs_status_t)packed : UCS_OK;
}

static void utest_completed(uct_completion_t *completion)
{
}

static ucs_status_t utest_send_zcopy(utest_iface_t *iface, uct_ep_h ep,
                                     uint8_t id, uint64_t header,
                                     const void *data, size_t length)
{
    uct_completion_t completion = {.func   = utest_completed,
                                   .count  = 1,
                                   .status = UCS_OK};
    uct_iov_t        iov        = {.buffer = (void *)data,
                                   .length = length,
                                   .memh   = UCT_MEM_HANDLE_NULL,
                                   .stride = 0,
                                   .count  = 1};
    ucs_status_t     status;

    status = uct_ep_am_zcopy(ep, id, &header, sizeof(header), &iov, 1, 0,
                             &completion);
    if (status == UCS_INPROGRESS) {
        while (completion.count != 0) {
            uct_worker_progress(iface->context->worker);
        }
        status = completion.status;
    }
    return status;
}

ucs_status_t utest_try_send(utest_iface_t *iface, uct_ep_h ep, uint8_t id,
                            utest_mode_t mode, uint64_t header,
                            const void *data, size_t length)
{
    switch (mode) {
    case UTEST_SHORT:
        return uct_ep_am_short(ep, id, header, data, length);
    case UTEST_BCOPY:
        return utest_send_bcopy(ep, id, header, data, length);
    default:
        return utest_send_zcopy(iface, ep, id, header, data, length);
    }
}

ucs_status_t utest_send(utest_iface_t *iface, uct_ep_h ep, uint8_t id,
                        utest_mode_t mode, uint64_t header, const void *data,
                        size_t length, double deadline)
{
    ucs_status_t status;

    do {
        status = utest_try_send(iface, ep, id, mode, header, data, length);
        if (status != UCS_ERR_NO_RESOURCE) {
            return status;
        }
        uct_worker_progress(iface->context->worker);
    } while (utest_now() < deadline);
    return UCS_ERR_TIMED_OUT;
}

ucs_status_t utest_put(utest_iface_t *iface, uct_ep_h ep, uint64_t address,
                       uct_rkey_t rkey, uint64_t value, double deadline)
{
    ucs_status_t status;

    while ((status = uct_ep_put_short(ep, &value, sizeof(value), address,
                                      rkey)) == UCS_ERR_NO_RESOURCE) {
        uct_worker_progress(iface->context->worker);
        if (utest_now() > deadline) {
            return UCS_ERR_TIMED_OUT;
        }
    }
    return status;
}

ucs_status_t utest_flush(utest_iface_t *iface, uct_ep_h ep, double deadline)
{
    ucs_status_t status;

    do {
        status = uct_ep_flush(ep, UCT_FLUSH_FLAG_LOCAL, NULL);
        if ((status != UCS_ERR_NO_RESOURCE) && (status != UCS_INPROGRESS)) {
            return status;
        }
        uct_worker_progress(iface->context->worker);
    } while (utest_now() < deadline);
    return UCS_ERR_TIMED_OUT;
}

size_t utest_max_length(const utest_iface_t *iface, utest_mode_t mode)
{
    switch (mode) {
    case UTEST_SHORT:
        return iface->attr.cap.am.max_short - sizeof(uint64_t);
    case UTEST_BCOPY:
        return iface->attr.cap.am.max_bcopy - sizeof(uint64_t);
    default:
        return iface->attr.cap.am.max_zcopy - sizeof(uint64_t);
    }
}

static uint64_t utest_random(uint64_t *state)
{
    uint64_t value;

    *state += UTEST_STEP;
    value = *state;
    value = (value ^ (value >> UTEST_MIX_SHIFT)) * UTEST_MIX;
    return value ^ (value >> UTEST_MIX_SHIFT);
}

void utest_fill(void *buffer, size_t length, uint64_t seed)
{
    uint8_t *bytes = buffer;
    size_t   i;

    for (i = 0; i < length; ++i) {
        bytes[i] = (uint8_t)utest_random(&seed);
    }
}

static void
utest_iov_set(uct_iov_t *iov, const void *buffer, size_t length, unsigned count)
{
    memset(iov, 0, sizeof(*iov));
    iov->buffer = (void *)buffer;
    iov->length = length;
    iov->count  = count;
}

void utest_iov_init(uct_iov_t *iov, const void *buffer, size_t length)
{
    size_t first = length / 3;

    utest_iov_set(&iov[0], buffer, first, 1);
    utest_iov_set(&iov[1], NULL, 0, 1);
    utest_iov_set(&iov[2], buffer, first, 0);
    utest_iov_set(&iov[3], (const uint8_t *)buffer + first, length - first, 1);
}

int utest_is_filled(const void *buffer, size_t length, uint64_t seed)
{
    const uint8_t *bytes = buffer;
    size_t         i;

    for (i = 0; i < length; ++i) {
        if (bytes[i] != (uint8_t)utest_random(&seed)) {
            return 0;
        }
    }
    return 1;
}

long utest_count_fds(void)
{
    DIR *dir   = opendir("/proc/self/fd");
    long count = -3; /* ".", ".." and the descriptor of the folder */

    if (dir == NULL) {
        utest_fail("cannot read /proc/self/fd");
    }
    while (readdir(dir) != NULL) {
        ++count;
    }
    closedir(dir);
    return count;
}

long utest_count_timers(void)
{
    DIR           *dir   = opendir("/proc/self/fd");
    long           count = 0;
    struct dirent *entry;
    char           target[32];
    ssize_t        length;

    if (dir == NULL) {
        utest_fail("cannot read /proc/self/fd");
    }
    while ((entry = readdir(dir)) != NULL) {
        length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));
        count += (length == (ssize_t)strlen(UTEST_TIMER)) &&
                 !memcmp(target, UTEST_TIMER, length);
    }
    closedir(dir);
    return count;
}

size_t utest_count_heap(void)
{
#if __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();
#else
    struct mallinfo info = mallinfo();
#endif

    return (size_t)info.uordblks + (size_t)info.hblkhd;
}

long utest_count_maps(uint64_t *shared_bytes_p)
{
    FILE         *file   = fopen("/proc/self/maps", "r");
    uint64_t      shared = 0;
    long          count  = 0;
    unsigned long start, end;
    char          line[512], mode[8];

    if (file == NULL) {
        utest_fail("cannot read /proc/self/maps");
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3) {
            shared += (mode[3] == 's') ? end - start : 0;
            ++count;
        }
    }
    fclose(file);
    if (shared_bytes_p != NULL) {
        *shared_bytes_p = shared;
    }
    return count;
}

uint64_t utest_resident(void)
{
    FILE         *file = fopen("/proc/self/status", "r");
    unsigned long kib  = 0;
    char          line[256];

    if (file == NULL) {
        utest_fail("cannot read /proc/self/status");
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "VmRSS: %lu kB", &kib) == 1) {
            break;
        }
    }
    fclose(file);
    return kib * UTEST_KIB;
}
