/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <errno.h>
#include <getopt.h>
#include <obstack.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>


/* For the obstack */
#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

/* Exit status */
enum {
    XSHM_INFO_EXIT_USABLE   = 0,
    XSHM_INFO_EXIT_UNUSABLE = 1,
    XSHM_INFO_EXIT_FAILURE  = 2
};


/* All texts. It ends the program if there is no memory left. */
static struct obstack xshm_info_texts;


char *xshm_info_format(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    obstack_vprintf(&xshm_info_texts, fmt, ap);
    va_end(ap);
    obstack_1grow(&xshm_info_texts, '\0');
    return obstack_finish(&xshm_info_texts);
}

char *xshm_info_real_path(const char *path)
{
    char *real = realpath(path, NULL);
    char *copy;

    if (real == NULL) {
        return NULL;
    }

    copy = xshm_info_format("%s", real);
    free(real);
    return copy;
}

char *xshm_info_read_line(const char *path)
{
    char  *line = NULL;
    char  *copy = NULL;
    size_t size = 0;
    FILE  *file;

    file = fopen(path, "re");
    if (file == NULL) {
        return NULL;
    }

    if (getline(&line, &size, file) < 0) {
        errno = ENODATA;
    } else {
        line[strcspn(line, "\n")] = '\0';
        copy                      = xshm_info_format("%s", line);
    }

    free(line);
    fclose(file);
    return copy;
}

void xshm_info_add(xshm_info_section_t *section, const char *name,
                   xshm_info_state_t state, const char *value, const char *text,
                   const char *fix)
{
    xshm_info_fact_t *fact = &section->facts[section->num_facts++];

    fact->name  = name;
    fact->state = state;
    fact->value = value;
    fact->text  = text;
    fact->fix   = fix;
}

int xshm_info_section_is_ok(const xshm_info_section_t *section)
{
    unsigned i;

    for (i = 0; i < section->num_facts; ++i) {
        if (section->facts[i].state == XSHM_INFO_MISSING) {
            return 0;
        }
    }

    return 1;
}

static void xshm_info_collect(xshm_info_t *info)
{
    xshm_info_find_ucx(&info->ucx);
    info->is_xen = xshm_info_find_xen(&info->xen);
    if (info->is_xen) {
        xshm_info_find_clock(&info->xen);
    }

    xshm_info_find_device_local(&info->device_local);
    xshm_info_find_device_xen(&info->device_xen, info->is_xen);
    xshm_info_find_limits(info);
    info->is_usable = xshm_info_section_is_ok(&info->ucx) &&
                      (xshm_info_section_is_ok(&info->device_local) ||
                       xshm_info_section_is_ok(&info->device_xen));
}

static void xshm_info_usage(FILE *file)
{
    fprintf(file,
            "usage: xshm_info [-j]\n"
            "\n"
            "Tell whether programs on this system can use the UCX transport "
            "xshm, what is\nmissing, and which limits matter.\n"
            "\n"
            "  -j, --json     print JSON\n"
            "  -h, --help     print this text\n"
            "  -V, --version  print the version\n"
            "\n"
            "The exit status is 0 if xshm can be used, 1 if not, and 2 if "
            "xshm_info itself\nfailed. See also the manual page, "
            "xshm_info(1).\n");
}

static void xshm_info_version(void)
{
    printf("xshm_info (%s) %s, built for UCX %s\n", PACKAGE_NAME,
           PACKAGE_VERSION, XSHM_UCX_VERSION_STRING);
}

static int xshm_info_print(const xshm_info_t *info, int is_json)
{
    if (!is_json) {
        xshm_info_print_text(info);
    } else if (!xshm_info_print_json(info)) {
        return 0;
    }

    if (fflush(stdout) != 0) {
        fprintf(stderr, "xshm_info: cannot write: %m\n");
        return 0;
    }

    return 1;
}

static int xshm_info_run(int is_json)
{
    xshm_info_t info = {0};
    int         is_printed;

    obstack_exit_failure = XSHM_INFO_EXIT_FAILURE;
    obstack_init(&xshm_info_texts);
    xshm_info_collect(&info);
    is_printed = xshm_info_print(&info, is_json);
    obstack_free(&xshm_info_texts, NULL);

    if (!is_printed) {
        return XSHM_INFO_EXIT_FAILURE;
    }

    return info.is_usable ? XSHM_INFO_EXIT_USABLE : XSHM_INFO_EXIT_UNUSABLE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
    int                        is_json   = 0;
    int                        c;

    while ((c = getopt_long(argc, argv, "jhV", options, NULL)) != -1) {
        switch (c) {
        case 'j':
            is_json = 1;
            break;
        case 'h':
            xshm_info_usage(stdout);
            return 0;
        case 'V':
            xshm_info_version();
            return 0;
        default:
            xshm_info_usage(stderr);
            return XSHM_INFO_EXIT_FAILURE;
        }
    }

    if (optind < argc) {
        fprintf(stderr, "xshm_info: unexpected argument \"%s\"\n",
                argv[optind]);
        xshm_info_usage(stderr);
        return XSHM_INFO_EXIT_FAILURE;
    }

    return xshm_info_run(is_json);
}
