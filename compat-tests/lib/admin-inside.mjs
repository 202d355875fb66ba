// SPDX-License-Identifier: BSD-3-Clause
// The administration protocol from inside a network namespace, to which the engine's abstract name belongs:
// admin-inside.mjs IDENTITY. Standard input goes to the engine, its answers to standard output.
import { connect } from 'node:net';

const socket = connect({ path: `\0zstack-${process.argv[2]}-admin`.padEnd(108, '\0') });
socket.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
socket.on('close', () => process.exit());
process.stdin.pipe(socket);
socket.pipe(process.stdout);
