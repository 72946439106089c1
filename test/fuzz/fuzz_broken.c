/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * No fuzzer of xshm, but a test of how they are run: one that finds something,
 * after many inputs that are right, has failed.
 */

#include "fuzz_input.h"

#include <stdlib.h>


#define FUZZ_NUM_RIGHT 1000


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned num_inputs;

    (void)data;
    (void)size;

    if (++num_inputs > FUZZ_NUM_RIGHT) {
        abort();
    }
    return 0;
}
