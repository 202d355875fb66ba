// SPDX-License-Identifier: BSD-3-Clause
/** All suites. */
import type { Suite } from '../harness/case.js';
import { errors } from './errors.js';
import { messages } from './messages.js';
import { options } from './options.js';

export const suites: readonly Suite[] = [messages, errors, options];
