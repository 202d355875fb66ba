// SPDX-License-Identifier: BSD-3-Clause
// cluster-client.mjs PORT COUNT: COUNT requests to TEST_HOST (127.0.0.1), each on its own connection; prints the workers that answered.
import { get } from 'node:http';

const [port, count] = process.argv.slice(2).map(Number);
const expected = 'x'.repeat(20_000);

function ask() {
  return new Promise((resolve, reject) => {
    get({ port, host: process.env.TEST_HOST ?? '127.0.0.1', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('end', () => {
        const [worker, body] = text.split(':');
        if (body === expected) resolve(worker);
        else reject(new Error(`an answer of ${text.length} characters`));
      });
    }).on('error', reject);
  });
}

const seen = new Set();
for (let i = 0; i < count; i += 20) {
  for (const worker of await Promise.all(Array.from({ length: 20 }, ask))) seen.add(worker);
}
console.log(JSON.stringify([...seen].sort()));
