/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>


/* What the device "xen" opens, and the kernel's module that makes it */
static const struct {
    const char *name;
    const char *path;
    const char *load;
} xshm_info_xen_nodes[] = {
        {"gntalloc", "/dev/xen/gntalloc", "sudo modprobe xen-gntalloc"},
        {"gntdev", "/dev/xen/gntdev", "sudo modprobe xen-gntdev"},
        {"evtchn", "/dev/xen/evtchn", "sudo modprobe xen-evtchn"},
        {"xenbus", "/dev/xen/xenbus", "use a kernel with CONFIG_XENFS"}};

#define XSHM_INFO_NUM_NODES \
    (sizeof(xshm_info_xen_nodes) / sizeof(xshm_info_xen_nodes[0]))


int xshm_info_find_xen(xshm_info_section_t *section)
{
    const char *type    = xshm_info_read_line("/sys/hypervisor/type");
    const char *caps    = xshm_info_read_line("/proc/xen/capabilities");
    int         is_xen  = (type != NULL) && !strcmp(type, "xen");
    int         is_dom0 = (caps != NULL) && (strstr(caps, "control_d") != NULL);

    section->name  = "xen";
    section->title = "Xen";
    if (!is_xen) {
        xshm_info_add(section, "hypervisor", XSHM_INFO_NOTE, type,
                      "this system does not run on Xen "
                      "(/sys/hypervisor/type does not say so)",
                      NULL);
        return 0;
    }

    xshm_info_add(section, "hypervisor", XSHM_INFO_OK, type,
                  xshm_info_format("this system runs on Xen, as %s",
                                   is_dom0 ? "its control domain" : "a guest"),
                  NULL);
    return 1;
}

static void xshm_info_check_node(xshm_info_section_t *section, const char *name,
                                 const char *path, const char *load)
{
    if (access(path, R_OK | W_OK) == 0) {
        xshm_info_add(section, name, XSHM_INFO_OK, path,
                      xshm_info_format("%s is there", path), NULL);
    } else if (errno == EACCES) {
        xshm_info_add(section, name, XSHM_INFO_MISSING, path,
                      xshm_info_format("%s is there, but user %u may not open "
                                       "it",
                                       path, (unsigned)getuid()),
                      xshm_info_format("sudo setfacl -m u:%u:rw %s",
                                       (unsigned)getuid(), path));
    } else {
        xshm_info_add(section, name, XSHM_INFO_MISSING, path,
                      xshm_info_format("%s: %s", path, strerror(errno)), load);
    }
}

void xshm_info_find_device_xen(xshm_info_section_t *section, int is_xen)
{
    unsigned i;

    section->name  = "xen";
    section->title = "Device xen (peers in other virtual machines)";
    xshm_info_add(section, "release", XSHM_INFO_MISSING, NULL,
                  "this version of xshm does not have it yet: it comes with a "
                  "later release",
                  NULL);
    if (!is_xen) {
        return;
    }

    for (i = 0; i < XSHM_INFO_NUM_NODES; ++i) {
        xshm_info_check_node(section, xshm_info_xen_nodes[i].name,
                             xshm_info_xen_nodes[i].path,
                             xshm_info_xen_nodes[i].load);
    }
}
