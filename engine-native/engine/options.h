/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ZSTACK_ENGINE_OPTIONS_H
#define ZSTACK_ENGINE_OPTIONS_H

#include "engine.h"

enum options_result { OPTIONS_RUN, OPTIONS_EXIT, OPTIONS_ERROR };

/* Reads zstackd's command line. OPTIONS_ERROR: *failure says what is wrong. OPTIONS_EXIT: help or version is printed. */
enum options_result options_parse(int argc, char **argv, struct engine_options *options,
                                  struct engine_failure *failure);

#endif
