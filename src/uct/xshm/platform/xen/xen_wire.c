/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_wire.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>


/* Digits of a name: all that xenstore allows in a path, and stays readable */
#define XSHM_XEN_NAME_BITS 6
#define XSHM_XEN_NAME_MASK ((1u << XSHM_XEN_NAME_BITS) - 1)

static const char xshm_xen_digits[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

XSHM_ABI_ASSERT(sizeof(xshm_xen_digits) == (1 << XSHM_XEN_NAME_BITS) + 1);


static char xshm_xen_digit(uint64_t value)
{
    return xshm_xen_digits[value & XSHM_XEN_NAME_MASK];
}

static void xshm_xen_name_put_process(char *name, uint64_t process)
{
    unsigned i;

    for (i = 0; i < XSHM_XEN_NAME_PROCESS; ++i) {
        name[i] = xshm_xen_digit(process >> (i * XSHM_XEN_NAME_BITS));
    }
}

void xshm_xen_name_format(char *name, uint64_t target, uint64_t sender,
                          uint32_t number)
{
    xshm_xen_name_put_process(name, target);
    name += XSHM_XEN_NAME_PROCESS;
    xshm_xen_name_put_process(name, sender);
    name += XSHM_XEN_NAME_PROCESS;

    do {
        *name++ = xshm_xen_digit(number);
        number >>= XSHM_XEN_NAME_BITS;
    } while (number != 0);
    *name = '\0';
}

/* The name is as long as the number at least: comparing stops at its end */
static int xshm_xen_name_has_process(const char *name, uint64_t process)
{
    char expected[XSHM_XEN_NAME_PROCESS];

    xshm_xen_name_put_process(expected, process);
    return !strncmp(name, expected, sizeof(expected));
}

int xshm_xen_name_is_for(const char *name, uint64_t target)
{
    return xshm_xen_name_has_process(name, target);
}

int xshm_xen_name_is_from(const char *name, uint64_t sender)
{
    return (strlen(name) > XSHM_XEN_NAME_PROCESS) &&
           xshm_xen_name_has_process(name + XSHM_XEN_NAME_PROCESS, sender);
}

void xshm_xen_name_process(char *process, const char *name, int is_sender)
{
    snprintf(process, XSHM_XEN_NAME_PROCESS + 1, "%s",
             name + (is_sender ? XSHM_XEN_NAME_PROCESS : 0));
}

/* The functions below move *text past what they have read */

static int xshm_xen_take(const char **text, const char *expected)
{
    size_t length = strlen(expected);

    if (strncmp(*text, expected, length)) {
        return 0;
    }

    *text += length;
    return 1;
}

static int
xshm_xen_take_number(const char **text, uint32_t max, uint32_t *value_p)
{
    uint64_t    value = 0;
    const char *pos   = *text;

    /* Checked at each digit, so that it cannot overflow */
    for (; isdigit((unsigned char)*pos) && (value <= max); ++pos) {
        value = (value * 10) + (uint64_t)(*pos - '0');
    }

    if ((pos == *text) || (value > max)) {
        return 0;
    }

    *text    = pos;
    *value_p = (uint32_t)value;
    return 1;
}

static int xshm_xen_hex_value(char digit)
{
    if ((digit >= '0') && (digit <= '9')) {
        return digit - '0';
    }

    return ((digit >= 'a') && (digit <= 'f')) ? (digit - 'a' + 10) : -1;
}

/* Two digits for each byte */
static int xshm_xen_take_hex(const char **text, uint8_t *bytes, size_t size)
{
    const char *pos = *text;
    int         high, low;
    size_t      i;

    for (i = 0; i < size; ++i) {
        high = xshm_xen_hex_value(pos[0]);
        low  = (high < 0) ? -1 : xshm_xen_hex_value(pos[1]);
        if (low < 0) {
            return 0;
        }

        bytes[i] = (uint8_t)((high << 4) | low);
        pos += 2;
    }

    *text = pos;
    return 1;
}

static void xshm_xen_put_hex(char *text, const uint8_t *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < size; ++i) {
        sprintf(text + (i * 2), "%02x", bytes[i]);
    }
}

static int xshm_xen_take_domain(const char **path, uint32_t *domid)
{
    return xshm_xen_take(path, XSHM_XEN_DOMAINS "/") &&
           xshm_xen_take_number(path, XSHM_XEN_DOMID_MAX, domid) &&
           xshm_xen_take(path, "/" XSHM_XEN_DIR "/");
}

int xshm_xen_path_parse(const char *path, xshm_xen_path_t *parsed)
{
    if (!xshm_xen_take_domain(&path, &parsed->domid) ||
        ((*path != XSHM_XEN_REQUESTS) && (*path != XSHM_XEN_REFUSALS))) {
        return 0;
    }

    parsed->folder = *path++;
    if (!xshm_xen_take(&path, "/") ||
        !xshm_xen_take_number(&path, XSHM_XEN_DOMID_MAX, &parsed->peer) ||
        !xshm_xen_take(&path, "/")) {
        return 0;
    }

    parsed->name = path;
    return (*path != '\0') && (strlen(path) < XSHM_XEN_NAME_MAX) &&
           (strspn(path, xshm_xen_digits) == strlen(path));
}

int xshm_xen_id_path_parse(const char *path, uint32_t *domid)
{
    return xshm_xen_take_domain(&path, domid) && !strcmp(path, "id");
}

/* version time gref pages process interface token */
void xshm_xen_ask_format(char *value, const xshm_xen_ask_t *ask)
{
    char token[(2 * XSHM_ABI_TOKEN_SIZE) + 1];

    xshm_xen_put_hex(token, ask->target.token, XSHM_ABI_TOKEN_SIZE);
    snprintf(value, XSHM_XEN_VALUE_MAX, "%u %u %u %u %016" PRIx64 " %u %s",
             ask->version, ask->time, ask->gref, ask->num_pages,
             ask->target.process, ask->target.iface, token);
}

static int xshm_xen_take_process(const char **text, xshm_iface_addr_t *target)
{
    uint8_t  bytes[sizeof(target->process)];
    unsigned i;

    if (!xshm_xen_take_hex(text, bytes, sizeof(bytes))) {
        return 0;
    }

    target->process = 0;
    for (i = 0; i < sizeof(bytes); ++i) {
        target->process = (target->process << 8) | bytes[i];
    }

    return 1;
}

static int xshm_xen_take_target(const char **text, xshm_iface_addr_t *target)
{
    uint32_t iface;

    if (!xshm_xen_take_process(text, target) || !xshm_xen_take(text, " ") ||
        !xshm_xen_take_number(text, UINT32_MAX, &iface) ||
        !xshm_xen_take(text, " ")) {
        return 0;
    }

    target->version = XSHM_ABI_VERSION;
    target->iface   = iface;
    return xshm_xen_take_hex(text, target->token, XSHM_ABI_TOKEN_SIZE);
}

/* What begins the values of all versions */
static int
xshm_xen_take_start(const char **text, uint32_t *version, uint32_t *time)
{
    return xshm_xen_take_number(text, UINT32_MAX, version) &&
           xshm_xen_take(text, " ") &&
           xshm_xen_take_number(text, UINT32_MAX, time);
}

int xshm_xen_ask_parse(const char *value, xshm_xen_ask_t *ask)
{
    memset(ask, 0, sizeof(*ask));
    if (!xshm_xen_take_start(&value, &ask->version, &ask->time)) {
        return 0;
    }

    if (ask->version != XSHM_ABI_VERSION) {
        return 1;
    }

    return xshm_xen_take(&value, " ") &&
           xshm_xen_take_number(&value, UINT32_MAX, &ask->gref) &&
           xshm_xen_take(&value, " ") &&
           xshm_xen_take_number(&value, XSHM_ABI_MAX_PAGE_REFS + 1,
                                &ask->num_pages) &&
           xshm_xen_take(&value, " ") &&
           xshm_xen_take_target(&value, &ask->target) && (*value == '\0');
}

void xshm_xen_refusal_format(char *value, const xshm_xen_refusal_t *refusal)
{
    snprintf(value, XSHM_XEN_VALUE_MAX, "%u %u %u", refusal->version,
             refusal->time, refusal->reason);
}

int xshm_xen_refusal_parse(const char *value, xshm_xen_refusal_t *refusal)
{
    return xshm_xen_take_start(&value, &refusal->version, &refusal->time) &&
           xshm_xen_take(&value, " ") &&
           xshm_xen_take_number(&value, XSHM_REASON_LAST - 1,
                                &refusal->reason) &&
           (*value == '\0');
}

/* version identity */
void xshm_xen_identity_format(char *value, const uint8_t *identity)
{
    char text[(2 * XSHM_XEN_IDENTITY_SIZE) + 1];

    xshm_xen_put_hex(text, identity, XSHM_XEN_IDENTITY_SIZE);
    snprintf(value, XSHM_XEN_VALUE_MAX, "%u %s", XSHM_ABI_VERSION, text);
}
