// SPDX-License-Identifier: BSD-3-Clause
import { content, nginx, NGINX, wrk, type Case } from '../lib/kit.js';

const needs = ['wrk', NGINX];

export default [
  {
    program: 'wrk',
    name: 'threads',
    needs,
    wire: 'out',
    quick: true,
    least: { connections: 60, bytes: 100_000 },
    async run(t) {
      const { port } = await nginx(t);
      await wrk(t, `http://${t.host}:${port}/hello`, ['-t3', '-c60', '-d1s']);
    },
  },
  {
    program: 'wrk',
    name: 'large-answers',
    needs,
    wire: 'out',
    least: { connections: 20, bytes: 10_000_000 },
    async run(t) {
      await content(t, [200_000]);
      const { port } = await nginx(t);
      await wrk(t, `http://${t.host}:${port}/200000`, ['-t1', '-c20', '-d2s']);
    },
  },
  {
    program: 'wrk',
    name: 'new-connections',
    needs,
    wire: 'out',
    least: { connections: 100 },
    async run(t) {
      const { port } = await nginx(t);
      await wrk(t, `http://${t.host}:${port}/hello`, ['-t1', '-c20', '-d1s', '-H', 'Connection: close']);
    },
  },
] satisfies Case[];
