// SPDX-License-Identifier: BSD-3-Clause
/** The C library as the cases see it: one function for each call, its arguments and results plain values. */
import * as descriptors from './descriptors.js';
import * as epoll from './epoll.js';
import * as options from './options.js';
import * as poll from './poll.js';
import * as sockets from './sockets.js';

export const libc = { ...sockets, ...options, ...epoll, ...poll, ...descriptors };
export type Libc = typeof libc;
