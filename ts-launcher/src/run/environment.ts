/** The environment of a wrapped program (docs/INTERFACES.md). Everything that is not named there stays as it was. */
import { engineIdentity } from '../engine/name.js';
import type { Options } from '../options/resolve.js';

/** The user's environment with what the preload library needs. */
export function wrappedEnvironment(
  env: NodeJS.ProcessEnv,
  options: Options,
  run: string,
  preload: string,
): NodeJS.ProcessEnv {
  return {
    ...env,
    LD_PRELOAD: prefixed(preload, env['LD_PRELOAD']),
    ZSTACK_ENGINE: engineIdentity(options.engine),
    ZSTACK_RUN: run,
    ZSTACK_PRELOAD: preload,
    ZSTACK_SPIN_US: String(options.spinUs),
    ZSTACK_LOG: options.log,
    ZSTACK_TRACE: options.trace ? '1' : '0',
    ZSTACK_TCP: options.tcp,
    ZSTACK_UDP: options.udp,
    ZSTACK_OWN_CALLS: options.ownCalls,
  };
}

/** `library` first, then what was preloaded already, without naming the library twice. */
export function prefixed(library: string, existing: string | undefined): string {
  const others = (existing ?? '').split(/[: ]+/).filter((path) => path !== '' && path !== library);
  return [library, ...others].join(':');
}
