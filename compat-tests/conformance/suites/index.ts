// SPDX-License-Identifier: BSD-3-Clause
/** All suites. */
import type { Suite } from '../harness/case.js';
import { async_ } from './async.js';
import { datagrams } from './datagrams.js';
import { errors } from './errors.js';
import { fastopen } from './fastopen.js';
import { messages } from './messages.js';
import { options } from './options.js';
import { readiness } from './readiness.js';
import { transfer } from './transfer.js';
import { zerocopy } from './zerocopy.js';

export const suites: readonly Suite[] = [
  messages,
  errors,
  readiness,
  transfer,
  options,
  fastopen,
  async_,
  zerocopy,
  datagrams,
];
