// SPDX-License-Identifier: BSD-3-Clause
/** The environments of programs under Z-stack and of programs on kernel sockets. */
import { LAUNCHER, PRELOAD, BUILD } from './paths.js';

/** The test's own environment without anything of Z-stack. */
export function kernelEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [key, value] of Object.entries(process.env)) {
    if (!/^(ZSTACK_|LD_PRELOAD$|NODE_OPTIONS$|JEST_)/.test(key)) env[key] = value;
  }
  return env;
}

/** What `zstack-run` gives a program (docs/INTERFACES.md). */
export function wrappedVariables(engine: string, run: string): Record<string, string> {
  return { LD_PRELOAD: PRELOAD, ZSTACK_ENGINE: engine, ZSTACK_RUN: run, ZSTACK_PRELOAD: PRELOAD };
}

/** The launcher itself, with the build under test and nothing to be built first. */
export function launcher(...args: string[]): { command: string[]; env: Record<string, string> } {
  return {
    command: [LAUNCHER, ...args],
    env: { ZSTACK_BOOTSTRAP: '0', ZSTACK_BUILD_DIR: BUILD, ZSTACK_PORT: 'none', XDG_CONFIG_HOME: '/nonexistent' },
  };
}
