// SPDX-License-Identifier: BSD-3-Clause
/** CPython's own tests of the network and what it rests upon, from Debian's libpython3.11-testsuite. */
import type { Case } from '../../../ts-launcher/src/compat/case.js';
import { PYTHON } from '../lib/kit.js';
import { cpython, SUITE_MS } from '../lib/suite.js';

/** Take a moment each. */
const QUICK = ['epoll', 'select', 'socketserver', 'httplib', 'smtplib', 'asyncore'];

const MODULES = [
  ...['socket', 'selectors', 'poll', 'asyncio', 'httpservers', 'ssl', 'ftplib', 'signal', 'eintr', 'timeout'],
  ...['asynchat', 'smtpd', 'poplib', 'imaplib', 'nntplib', 'telnetlib', 'xmlrpc', 'docxmlrpc', 'wsgiref'],
  ...['urllib', 'urllib2', 'urllib2_localnet', 'robotparser', 'logging', 'syslog', 'mailbox', 'pty', 'fcntl'],
  ...['os', 'posix', 'subprocess', 'threading', 'threadsignals', 'fork1', 'wait3', 'wait4', 'popen', 'file_eintr'],
  ...['concurrent_futures', 'multiprocessing_main_handling', 'multiprocessing_fork', 'multiprocessing_forkserver'],
  'multiprocessing_spawn',
];

/** With a vsock device but no host behind it, which virtual machines have, these wait for ever, on the kernel too. */
const IGNORE = ['*VSOCK*'];

/** No sockets of the internet, or none but by chance: they are here for processes, signals and descriptors. */
const WITHOUT = new Set([
  ...['poll', 'signal', 'pty', 'fcntl', 'posix', 'subprocess', 'threading', 'threadsignals', 'fork1', 'wait3', 'wait4'],
  ...[
    'popen',
    'file_eintr',
    'robotparser',
    'urllib2',
    'concurrent_futures',
    'multiprocessing_main_handling',
    'mailbox',
  ],
  ...['smtpd', 'timeout', 'syslog', 'epoll', 'select', 'os', 'eintr', 'selectors', 'wsgiref', 'urllib'],
]);

/** Connections that are opened and closed; what is said goes over sockets of the module's own making. */
const SILENT = new Set(['telnetlib']);

/** They want to be allowed the network. What asks for other hosts than 127.0.0.1 fails on the kernel, too: there are none. */
const NETWORK = new Set(['socketserver', 'timeout']);

export default [...QUICK, ...MODULES].map((module): Case => ({
  ...{ program: 'cpython', name: module, suite: true, backends: ['kernel', 'same-host'], timeoutMs: SUITE_MS },
  needs: [PYTHON, `/usr/lib/python3.11/test/test_${module}${module === 'asyncio' ? '' : '.py'}`],
  quick: QUICK.includes(module),
  least: {
    connections: WITHOUT.has(module) ? 0 : 1,
    ...(WITHOUT.has(module) || SILENT.has(module) ? { bytes: 0 } : {}),
  },
  run: cpython(`test_${module}`, IGNORE, NETWORK.has(module) ? ['network'] : []),
}));
