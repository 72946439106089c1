/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_INFO_H_
#define XSHM_INFO_H_

#include <stdint.h>
#include <stdio.h>

/**
 * xshm_info: what there is, what is missing, and what to do about it.
 *
 * It must work where UCX does not, so it is not linked with UCX and uses no
 * code of the transport: it makes the same system calls itself. Facts are
 * collected first, then printed, as text or as JSON. All texts that are made
 * live until the end, in one place.
 */

/** Most facts of a section, and most limits */
#define XSHM_INFO_MAX_FACTS  8
#define XSHM_INFO_MAX_LIMITS 12

/** A limit that does not limit; a number of peers that does not apply */
#define XSHM_INFO_UNLIMITED UINT64_MAX


typedef enum {
    XSHM_INFO_OK,
    XSHM_INFO_MISSING, /**< xshm cannot do without */
    XSHM_INFO_NOTE     /**< Good to know */
} xshm_info_state_t;


typedef struct xshm_info_fact {
    const char       *name; /**< Key in JSON */
    xshm_info_state_t state;
    const char       *value; /**< For programs, or NULL */
    const char       *text;  /**< For people */
    const char       *fix;   /**< What to do, or NULL */
} xshm_info_fact_t;


typedef struct xshm_info_section {
    const char      *name;
    const char      *title;
    xshm_info_fact_t facts[XSHM_INFO_MAX_FACTS];
    unsigned         num_facts;
} xshm_info_section_t;


typedef struct xshm_info_limit {
    const char *name;
    uint64_t    value; /**< Or XSHM_INFO_UNLIMITED */
    uint64_t    peers; /**< That it allows, or XSHM_INFO_UNLIMITED */
    const char *text;  /**< What is limited, and what one peer needs of it */
    const char *fix;   /**< How to raise it */
} xshm_info_limit_t;


typedef struct xshm_info {
    xshm_info_section_t ucx;
    xshm_info_section_t xen;
    xshm_info_section_t device_local;
    xshm_info_section_t device_xen;
    xshm_info_limit_t   limits[XSHM_INFO_MAX_LIMITS];
    unsigned            num_limits;
    int                 is_xen;
    int                 is_usable; /**< With UCX, by one device at least */
} xshm_info_t;


/** Format a text. It lives until the end. */
char *xshm_info_format(const char *fmt, ...)
        __attribute__((format(printf, 1, 2)));

/** Read the first line of a small file.
 *  @return A text that lives until the end, or NULL with errno set. */
char *xshm_info_read_line(const char *path);

/** The path without links. @return A text that lives until the end, or NULL. */
char *xshm_info_real_path(const char *path);

/** Folder of what a path names. @return A text that lives until the end, or
 *  NULL. */
char *xshm_info_folder(const char *path);

/** A file in a folder. @return A text that lives until the end, or NULL if it
 *  cannot be read. */
char *xshm_info_join(const char *folder, const char *name);

/** Read a node of xenstore.
 *  @param [in] device  The kernel's device for xenstore.
 *  @return A text that lives until the end, or NULL with errno set. */
const char *xshm_info_read_xenstore(const char *device, const char *path);

/** Add a fact. The texts are not copied. */
void xshm_info_add(xshm_info_section_t *section, const char *name,
                   xshm_info_state_t state, const char *value, const char *text,
                   const char *fix);

/** Is nothing missing in this section? */
int xshm_info_section_is_ok(const xshm_info_section_t *section);

/** UCX, its version, the transport's library, and how it gets loaded */
void xshm_info_find_ucx(xshm_info_section_t *section);

/** The hypervisor. @return Not zero on Xen. */
int xshm_info_find_xen(xshm_info_section_t *section);

/** How long reading the time takes, for a guest */
void xshm_info_find_clock(xshm_info_section_t *section);

/** What the device "local" needs */
void xshm_info_find_device_local(xshm_info_section_t *section);

/** What the device "xen" needs */
void xshm_info_find_device_xen(xshm_info_section_t *section, int is_xen);

/** The limits, and how many peers they allow */
void xshm_info_find_limits(xshm_info_t *info);

/** Print for people */
void xshm_info_print_text(const xshm_info_t *info);

/** Print for programs. @return Zero if that is not possible. */
int xshm_info_print_json(const xshm_info_t *info);

#endif
