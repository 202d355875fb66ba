// SPDX-License-Identifier: BSD-3-Clause
/** The own tests of tornado and twisted, from Debian's packages. */
import type { Case } from '../../../ts-launcher/src/compat/case.js';
import { PYTHON } from '../lib/kit.js';
import { suite, SUITE_MS } from '../lib/suite.js';

const PACKAGES = '/usr/lib/python3/dist-packages';
const common = {
  suite: true,
  backends: ['kernel', 'same-host'],
  timeoutMs: SUITE_MS,
  least: { connections: 20 },
} as const;

const TORNADO = [
  ...['httpserver', 'httpclient', 'simple_httpclient', 'iostream', 'tcpclient', 'tcpserver', 'websocket', 'web'],
  ...['netutil', 'process', 'ioloop', 'asyncio', 'testing', 'wsgi', 'gen', 'locks', 'queues', 'routing'],
].map((name) => `tornado.test.${name}_test`);

const TWISTED: readonly (readonly [string, readonly string[]])[] = [
  ['internet', ['twisted.internet.test']],
  [
    'core',
    [
      'twisted.test.test_tcp',
      'twisted.test.test_udp',
      'twisted.test.test_internet',
      'twisted.test.test_ssl',
      'twisted.test.test_process',
      'twisted.test.test_unix',
      'twisted.test.test_policies',
      'twisted.test.test_amp',
      'twisted.test.test_ftp',
      'twisted.test.test_pb',
      'twisted.test.test_threads',
      'twisted.test.test_sslverify',
    ],
  ],
  ['web', ['twisted.web.test']],
  ['names', ['twisted.names.test']],
  ['protocols', ['twisted.protocols.test', 'twisted.mail.test', 'twisted.words.test']],
];

export default [
  {
    ...{ ...common, program: 'tornado', name: 'own-tests' },
    needs: [PYTHON, `${PACKAGES}/tornado/test`],
    run: suite('unittest', TORNADO),
  },
  ...TWISTED.map(([name, names]): Case => ({
    ...{ ...common, program: 'twisted', name },
    // DNS is datagrams; one module asks over TCP.
    least: { connections: name === 'names' ? 1 : 20 },
    needs: [PYTHON, `${PACKAGES}/twisted/test`],
    run: suite('trial', names),
  })),
] satisfies Case[];
