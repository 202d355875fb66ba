// A TCP echo client: opens CONNECTIONS (default 1) connections to HOST:PORT, sends MESSAGES (default 10) messages of SIZE
// (default 64) bytes on each, one at a time, checks every byte that comes back, and prints the figures.
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';

const setting = (name, fallback) => Number(process.env[name] ?? fallback);
const host = process.env.HOST ?? '127.0.0.1';
const port = setting('PORT', 7007);
const connections = setting('CONNECTIONS', 1);
const messages = setting('MESSAGES', 10);
const size = setting('SIZE', 64);

/** One connection: resolves when all its messages came back and the server closed after us. */
function converse() {
  return new Promise((resolve, reject) => {
    const message = randomBytes(size);
    const socket = connect({ host, port, noDelay: true });
    let sent = 0;
    let received = [];
    let length = 0;
    const next = () => {
      received = [];
      length = 0;
      if (sent++ < messages) socket.write(message);
      else socket.end();
    };
    socket.on('connect', next);
    socket.on('data', (data) => {
      received.push(data);
      length += data.length;
      if (length < size) return;
      if (Buffer.compare(Buffer.concat(received), message) !== 0) socket.destroy(new Error('the answer differs'));
      else next();
    });
    socket.on('error', reject);
    socket.on('close', () => (sent > messages ? resolve() : reject(new Error(`closed after ${sent} messages`))));
  });
}

const start = performance.now();
try {
  await Promise.all(Array.from({ length: connections }, converse));
  const seconds = (performance.now() - start) / 1000;
  const total = connections * messages;
  console.log(JSON.stringify({ connections, messages: total, size, seconds, per_second: Math.round(total / seconds) }));
} catch (error) {
  console.error(`echo-node: ${error.message}`);
  process.exitCode = 1;
}
