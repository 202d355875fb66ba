// SPDX-License-Identifier: BSD-3-Clause
// Serves a file over http to itself, several times at once: with UV_USE_IO_URING=1 libuv would read it through a ring.
import http from 'node:http';
import { open } from 'node:fs/promises';

const server = http.createServer(async (_, response) => {
  const file = await open(import.meta.filename);
  response.end(await file.readFile());
  await file.close();
});
server.listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const texts = await Promise.all(Array.from({ length: 20 }, async () => (await globalThis.fetch(url)).text()));
  console.log(texts.every((text) => text.startsWith('// SPDX')) ? 'read' : 'something else came');
  server.closeAllConnections();
  server.close();
});
