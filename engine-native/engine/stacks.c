/* SPDX-License-Identifier: BSD-3-Clause
 * The stacks that zstackd has. In a file of its own, for a program that has others. */
#include "wire_stack.h"

#include <stddef.h>

const struct wire_stack_ops *const wire_stacks[] = {&wire_stack_native, NULL};
