// SPDX-License-Identifier: BSD-3-Clause
// What the addon promises, on the kernel (argument "kernel") and under Z-stack ("local"); both ends in this process. With "worker"
// behind it, in a worker thread.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect as plainConnect } from 'node:net';
import { once } from 'node:events';
import { isMainThread, Worker } from 'node:worker_threads';
import {
  connect,
  createServer,
  info,
  isAccelerated,
  pipeZero,
  Segment,
  setQuota,
  usage,
  ZBuffer,
  ZSocket,
} from '../../../engine-native/addon/dist/index.js';

const accelerated = process.argv[2] === 'local';

/** A connected pair of ZSockets. */
async function pair() {
  const server = createServer((socket) => server.emit('zsocket', socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect(server.address().port, '127.0.0.1');
  const [[accepted]] = await Promise.all([once(server, 'zsocket'), once(client, 'connect')]);
  const closed = once(server, 'close');
  server.close();
  return { client, accepted, closed };
}

async function over({ client, accepted, closed }) {
  client.destroy();
  accepted.destroy();
  await closed; // the server counts its connections down as it does for its own kind
}

const cases = {
  async lent() {
    const p = await pair();
    assert.ok(p.client instanceof ZSocket);
    assert.equal(isAccelerated(p.client), accelerated);
    assert.deepEqual(info(p.accepted).path, accelerated ? 'local' : 'kernel');
    assert.equal(info(p.accepted).peer, accelerated ? process.pid : undefined);
    const buffer = new ZBuffer(300_000);
    randomBytes(300_000).copy(buffer.data);
    const sent = p.client.sendZero(buffer.data.subarray(1000));
    if (accelerated) {
      await new Promise(setImmediate);
      assert.ok(buffer.busy);
      await assert.rejects(p.client.sendZero(buffer.data), { code: 'EBUSY' });
      assert.throws(() => buffer.free(), { code: 'EBUSY' });
    }
    let at = 1000;
    const kept = [];
    for await (const segment of p.accepted.segments()) {
      assert.equal(segment.copied, accelerated ? undefined : 'kernel');
      assert.ok(segment.data.equals(buffer.data.subarray(at, at + segment.length)));
      at += segment.length;
      kept.push(segment);
      if (at === 300_000) break;
    }
    const view = kept[0].data;
    for (const segment of kept.reverse()) segment.release();
    assert.equal(view.length, 0);
    assert.throws(() => kept[0].data, { code: 'ESTALE' });
    assert.throws(() => kept[0].release(), { code: 'ESTALE' });
    assert.deepEqual(await sent, {
      bytes: 299_000,
      copied: accelerated ? 0 : 299_000,
      reason: accelerated ? 'none' : 'kernel',
    });
    buffer.free();
    assert.throws(() => buffer.data, { code: 'ESTALE' });
    await over(p);
  },

  /** Writes and sends in their order, to an ordinary reader. */
  async order() {
    const p = await pair();
    const buffer = new ZBuffer(1 << 20, true);
    randomBytes(1 << 20).copy(buffer.data);
    const want = createHash('sha256');
    const got = createHash('sha256');
    const promises = [];
    for (let i = 0; i < 40; i++) {
      const head = Buffer.from(`message ${i}\n`);
      const part = buffer.data.subarray(i * 1000, i * 1000 + 100_000 + i);
      p.client.write(head);
      promises.push(p.client.sendZero(i % 2 === 0 ? part : [head, part]));
      want
        .update(head)
        .update(i % 2 === 0 ? Buffer.alloc(0) : head)
        .update(part);
    }
    p.client.end('the end');
    want.update('the end');
    for await (const chunk of p.accepted) got.update(chunk);
    assert.equal(got.digest('hex'), want.digest('hex'));
    const sent = await Promise.all(promises);
    assert.ok(sent.every(({ bytes }) => bytes >= 100_000));
    buffer.free();
    await over(p);
  },

  async proxy() {
    const [a, b] = [await pair(), await pair()];
    const buffers = Array.from({ length: 4 }, () => new ZBuffer(1 << 20));
    const want = createHash('sha256');
    const got = createHash('sha256');
    const passing = pipeZero(a.accepted, b.client);
    const sending = (async () => {
      for (let i = 0; i < 20; i++) {
        const buffer = buffers[i % 4];
        randomBytes(1 << 16).copy(buffer.data, i * 1000);
        want.update(buffer.data);
        await a.client.sendZero(buffer.data);
      }
      a.client.end();
    })();
    let ended = false;
    b.accepted.on('end', () => (ended = true));
    for await (const segment of b.accepted.segments()) {
      got.update(segment.data);
      segment.release();
    }
    await sending;
    const passed = await passing;
    assert.equal(got.digest('hex'), want.digest('hex'));
    assert.equal(passed.bytes, 20 << 20);
    if (accelerated) assert.ok(passed.copied < passed.bytes / 10, JSON.stringify(passed));
    await new Promise(setImmediate);
    assert.ok(ended);
    for (const buffer of buffers) buffer.free();
    await over(a);
    await over(b);
  },

  /** A segment after its socket's end, one by its dispose method, and those that somebody forgot. */
  async lives() {
    const p = await pair();
    const buffer = new ZBuffer(100_000);
    buffer.data.fill('z');
    void p.client.sendZero(buffer.data);
    const list = await p.accepted.receive();
    await over(p);
    assert.ok(list.length > 0 && list.every((s) => s instanceof Segment && s.data.every((byte) => byte === 0x7a)));
    for (const segment of list) segment[Symbol.dispose]();
    for (const segment of list) segment[Symbol.dispose](); // once more is no error
    if (isMainThread) assert.equal(usage().segments, 0); // the process' own number
    while (buffer.busy) await new Promise(setImmediate);
    const before = usage().forgotten;
    const q = await pair();
    await forget(q, buffer);
    while (usage().segments > 0) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.ok(usage().forgotten > before);
    while (buffer.busy) await new Promise(setImmediate);
    buffer.free();
    await over(q);
  },

  async errors() {
    const p = await pair();
    assert.throws(() => new ZBuffer(0), { code: 'EINVAL' });
    assert.throws(() => new ZBuffer(5 << 20), { code: 'EINVAL' });
    const buffer = new ZBuffer(10_000);
    const { data } = buffer;
    buffer.free();
    assert.equal(data.length, 0);
    // The connection is none the worse for it.
    p.client.write('still here');
    const [segment] = await p.accepted.receive();
    assert.equal(segment.data.toString(), 'still here');
    segment.release();
    p.accepted.destroy();
    await once(p.client.resume(), 'close');
    await assert.rejects(p.client.sendZero(Buffer.alloc(10)), ({ code }) =>
      /^(ERR_STREAM_DESTROYED|EPIPE)$/.test(code),
    );
    await p.closed;
  },

  async quota() {
    if (!isMainThread) return; // the process' own, too
    const p = await pair();
    const { heldQuota } = usage();
    setQuota(150_000);
    const buffers = Array.from({ length: 4 }, () => new ZBuffer(100_000));
    for (const { data } of buffers) void p.client.sendZero(data);
    const list = [];
    for (let n = 0; n < 400_000;) {
      const some = await p.accepted.receive();
      for (const { length } of some) n += length;
      list.push(...some);
    }
    if (accelerated)
      assert.ok(list.some(({ copied }) => copied === 'quota') && list.some(({ copied }) => copied === undefined));
    for (const segment of list) segment.release();
    setQuota(heldQuota);
    for (const buffer of buffers) {
      while (buffer.busy) await new Promise(setImmediate);
      buffer.free();
    }
    await over(p);
  },

  /** An ordinary client and an ordinary use of a ZSocket. */
  async plain() {
    const server = createServer((socket) => socket.pipe(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = plainConnect(server.address().port, '127.0.0.1');
    client.end('hello');
    const parts = [];
    for await (const part of client) parts.push(part);
    assert.equal(Buffer.concat(parts).toString(), 'hello');
    server.close();
    await once(server, 'close');
  },
};

async function forget({ client, accepted }, buffer) {
  void client.sendZero(buffer.data);
  const list = await accepted.receive();
  assert.ok(list.length > 0);
}

for (const [name, run] of Object.entries(cases)) {
  await run();
  if (isMainThread) console.log(name);
}
if (isMainThread && process.argv[3] === 'worker') {
  const workers = [1, 2].map(() => new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) }));
  const ends = await Promise.all(workers.map((worker) => once(worker, 'exit')));
  assert.deepEqual(ends, [[0], [0]]);
  console.log('workers');
}
