/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define XSHM_INFO_XENBUS "/dev/xen/xenbus"

/* The group that udev's rules name */
#define XSHM_INFO_GROUP "xshm"


/* What the device "xen" opens, and the kernel's module that makes it */
static const struct {
    const char *name;
    const char *path;
    const char *module;
} xshm_info_xen_nodes[] = {{"gntalloc", "/dev/xen/gntalloc", "xen-gntalloc"},
                           {"gntdev", "/dev/xen/gntdev", "xen-gntdev"},
                           {"evtchn", "/dev/xen/evtchn", "xen-evtchn"},
                           {"xenbus", XSHM_INFO_XENBUS, NULL}};

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

/* The command that prepares a guest. "make install" puts it beside
 * xshm_info. */
static const char *xshm_info_setup_command(void)
{
    const char    *bindir = xshm_info_folder("/proc/self/exe");
    const char    *setup  = NULL;
    struct passwd *user   = getpwuid(getuid());

    if (bindir != NULL) {
        setup = xshm_info_join(bindir,
                               XSHM_INFO_RELATIVE_SBINDIR "/xshm_setup");
        setup = (setup == NULL) ? NULL : xshm_info_real_path(setup);
    }

    return xshm_info_format("sudo \"%s\"%s%s",
                            (setup == NULL) ? "xshm_setup" : setup,
                            (user == NULL) ? "" : " ",
                            (user == NULL) ? "" : user->pw_name);
}

/* Was the user added to the group after he logged in? */
static int xshm_info_must_log_in_again(void)
{
    struct group  *group = getgrnam(XSHM_INFO_GROUP);
    struct passwd *user  = getpwuid(getuid());
    char         **member;

    if ((group == NULL) || (user == NULL)) {
        return 0;
    }

    /* Who has the group already is denied for another reason */
    if (group_member(group->gr_gid)) {
        return 0;
    }

    for (member = group->gr_mem; *member != NULL; ++member) {
        if (!strcmp(*member, user->pw_name)) {
            return 1;
        }
    }

    return 0;
}

static const char *xshm_info_permission_fix(void)
{
    if (xshm_info_must_log_in_again()) {
        return "log in again: this user was added to the group "
               "\"" XSHM_INFO_GROUP "\" a while ago";
    }

    return xshm_info_format("%s (then log in again; it lets the "
                            "group \"" XSHM_INFO_GROUP
                            "\" use Xen's devices, and adds this user to it)",
                            xshm_info_setup_command());
}

/* A module that is loaded already does not bring back a node that was
 * removed */
static const char *xshm_info_missing_node_fix(const char *name,
                                              const char *path,
                                              const char *module)
{
    const char *number = xshm_info_read_line(
            xshm_info_format("/sys/class/misc/xen!%s/dev", name));
    unsigned major, minor;

    if ((number != NULL) && (sscanf(number, "%u:%u", &major, &minor) == 2)) {
        return xshm_info_format("sudo mknod %s c %u %u && %s", path, major,
                                minor, xshm_info_setup_command());
    }

    if (module == NULL) {
        return "use a kernel with Xen's drivers (CONFIG_XEN), as Debian's "
               "linux-image-amd64";
    }

    return xshm_info_format("sudo modprobe %s (or, with all that is needed, "
                            "for good: %s)",
                            module, xshm_info_setup_command());
}

static void xshm_info_check_node(xshm_info_section_t *section, const char *name,
                                 const char *path, const char *module)
{
    int error;

    if (access(path, R_OK | W_OK) == 0) {
        xshm_info_add(section, name, XSHM_INFO_OK, path,
                      xshm_info_format("%s is there", path), NULL);
        return;
    }

    error = errno;
    if (error == EACCES) {
        xshm_info_add(section, name, XSHM_INFO_MISSING, path,
                      xshm_info_format("%s is there, but user %u may not open "
                                       "it",
                                       path, (unsigned)getuid()),
                      xshm_info_permission_fix());
    } else {
        xshm_info_add(section, name, XSHM_INFO_MISSING, path,
                      xshm_info_format("%s: %s", path, strerror(error)),
                      xshm_info_missing_node_fix(name, path, module));
    }
}

/* Peers find each other by xenstore, and know each other by these numbers */
static void xshm_info_check_xenstore(xshm_info_section_t *section)
{
    const char *domain;

    if (access(XSHM_INFO_XENBUS, R_OK | W_OK) != 0) {
        return; /* Told already */
    }

    domain = xshm_info_read_xenstore(XSHM_INFO_XENBUS, "domid");
    if (domain != NULL) {
        xshm_info_add(section, "domain", XSHM_INFO_OK, domain,
                      xshm_info_format("xenstore answers: this guest is "
                                       "domain %s",
                                       domain),
                      NULL);
        return;
    }

    xshm_info_add(section, "domain", XSHM_INFO_MISSING, NULL,
                  xshm_info_format("xenstore does not tell the number of this "
                                   "domain (%s, node \"domid\"): %s",
                                   XSHM_INFO_XENBUS, strerror(errno)),
                  "look in the host's control domain whether xenstored runs");
}

void xshm_info_find_device_xen(xshm_info_section_t *section, int is_xen)
{
    unsigned i;

    section->name  = "xen";
    section->title = "Device xen (peers in other virtual machines)";
#ifndef HAVE_XEN
    xshm_info_add(section, "build", XSHM_INFO_MISSING, NULL,
                  "this build of xshm does not have it",
                  "install the package libxen-dev, and run ./configure again");
#endif
    if (!is_xen) {
        xshm_info_add(section, "hypervisor", XSHM_INFO_MISSING, NULL,
                      "it needs Xen, and this system does not run on it", NULL);
        return;
    }

    for (i = 0; i < XSHM_INFO_NUM_NODES; ++i) {
        xshm_info_check_node(section, xshm_info_xen_nodes[i].name,
                             xshm_info_xen_nodes[i].path,
                             xshm_info_xen_nodes[i].module);
    }

    xshm_info_check_xenstore(section);
}
