// SPDX-License-Identifier: BSD-3-Clause
// fetch.mjs URL COUNT: fetches and posts COUNT times, some at once, and checks every answer.
import { createHash, randomBytes } from 'node:crypto';

const [url, count] = process.argv.slice(2);
const hash = (data) => createHash('sha256').update(data).digest('hex');

async function once(i) {
  const plain = await globalThis.fetch(`${url}/`);
  if ((await plain.text()) !== 'Hello, world\n') throw new Error('GET / differs');
  const body = randomBytes(1 + ((i * 7919) % 300_000));
  const echo = await globalThis.fetch(`${url}/echo`, { method: 'POST', body });
  const got = Buffer.from(await echo.arrayBuffer());
  if (hash(got) !== hash(body)) throw new Error(`POST of ${body.length} bytes differs: ${got.length} bytes`);
}

for (let i = 0; i < Number(count); i += 10) {
  await Promise.all(Array.from({ length: Math.min(10, Number(count) - i) }, (_, j) => once(i + j)));
}
console.log('fetched');
