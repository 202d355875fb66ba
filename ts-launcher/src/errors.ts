/**
 * Every error of the launcher: one table of codes, one class, one way to print.
 *
 * A message reads `zstack-run: error[ZS1203]: what - hint: what to do`.
 */

/** What a code means: the exit status of `zstack-run COMMAND` and of subcommands, and the meaning for the documentation. */
interface ErrorKind {
  /** Exit status when a COMMAND was to be run: 125 we failed, 126 not executable, 127 not found. */
  readonly run: 125 | 126 | 127;
  /** Exit status of a subcommand: 1 a check failed, 2 usage, 3 the engine does not run. */
  readonly command: 1 | 2 | 3;
  readonly text: string;
}

/**
 * The codes. 10xx usage and configuration, 11xx the command, 12xx the engine, 13xx the installation, 14xx running,
 * 15xx benchmarks, 16xx ports, 17xx the compatibility matrix.
 */
export const ERRORS = {
  ZS1001: { run: 125, command: 2, text: 'an option is unknown, lacks its value or does not fit' },
  ZS1002: { run: 125, command: 2, text: 'no command was given' },
  ZS1003: { run: 125, command: 2, text: 'the value of an option is not of the expected form' },
  ZS1010: { run: 125, command: 2, text: 'the configuration file cannot be read' },
  ZS1011: { run: 125, command: 2, text: 'the configuration file is not TOML' },
  ZS1012: { run: 125, command: 2, text: 'the configuration file has an unknown key' },
  ZS1013: { run: 125, command: 2, text: 'a value in the configuration file is not of the expected form' },
  ZS1014: { run: 125, command: 2, text: 'the profile does not exist' },
  ZS1101: { run: 127, command: 1, text: 'the command was not found' },
  ZS1102: { run: 126, command: 1, text: 'the command is not executable' },
  ZS1103: { run: 126, command: 1, text: 'the command is statically linked: a preloaded library cannot reach it' },
  ZS1104: { run: 126, command: 1, text: 'the command gains privileges: the dynamic linker ignores LD_PRELOAD' },
  ZS1105: { run: 126, command: 1, text: 'the command is for another machine' },
  ZS1106: { run: 126, command: 1, text: 'the command uses another C library' },
  ZS1201: { run: 125, command: 3, text: 'the engine does not run' },
  ZS1202: { run: 125, command: 1, text: 'the engine could not be started' },
  ZS1203: { run: 125, command: 1, text: 'the engine does not answer' },
  ZS1204: { run: 125, command: 1, text: 'the engine refused a request' },
  ZS1205: { run: 125, command: 1, text: 'the name of the engine is held by somebody else' },
  ZS1206: { run: 125, command: 1, text: 'huge pages were required and there are none' },
  ZS1207: { run: 125, command: 3, text: 'the engine has no log to read' },
  ZS1208: { run: 125, command: 1, text: 'traffic cannot be captured' },
  ZS1209: { run: 125, command: 1, text: 'the engine that runs is of another build' },
  ZS1301: { run: 125, command: 1, text: 'a part of Z-stack is not built' },
  ZS1302: { run: 125, command: 1, text: 'a program that is needed is missing' },
  ZS1303: { run: 125, command: 1, text: 'this build has no F-Stack' },
  ZS1401: { run: 125, command: 1, text: 'the command could not be started' },
  ZS1402: { run: 125, command: 2, text: 'there is no such process' },
  ZS1501: { run: 125, command: 1, text: 'a benchmark failed' },
  ZS1601: { run: 125, command: 2, text: 'a port is not of the expected form' },
  ZS1602: { run: 125, command: 2, text: 'options of ports do not go together' },
  ZS1603: { run: 125, command: 2, text: 'an address does not fit its prefix' },
  ZS1604: { run: 125, command: 1, text: 'an address or network is in use' },
  ZS1605: { run: 125, command: 1, text: 'the interface does not exist or cannot be used so' },
  ZS1606: { run: 125, command: 1, text: 'the interface is down' },
  ZS1607: { run: 125, command: 1, text: 'the name for an interface is taken' },
  ZS1608: { run: 125, command: 1, text: 'a privilege is missing' },
  ZS1609: { run: 125, command: 1, text: 'TUN devices cannot be made' },
  ZS1610: { run: 125, command: 1, text: 'the network namespace does not exist' },
  ZS1611: { run: 125, command: 1, text: 'the path of a memif socket cannot be used' },
  ZS1612: { run: 125, command: 1, text: 'the program ip is missing or fails' },
  ZS1613: { run: 125, command: 1, text: "the kernel's end of a TAP cannot be set up" },
  ZS1614: { run: 125, command: 1, text: 'the PCI device does not exist or belongs to the kernel' },
  ZS1615: { run: 125, command: 1, text: 'another engine serves the memif socket' },
  ZS1701: { run: 125, command: 2, text: 'a case of the matrix cannot be read' },
  ZS1702: { run: 125, command: 2, text: 'the expectation of the matrix cannot be read' },
  ZS1703: { run: 125, command: 1, text: 'the report of the matrix cannot be written' },
  ZS1999: { run: 125, command: 1, text: 'a defect of the launcher' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** An error that the user is told in one line. `code` decides the exit status. */
export class LauncherError extends Error {
  override readonly name = 'LauncherError';

  /**
   * @param code one of {@link ERRORS}, or a code of the engine (`ZS2nnn`) passed through by {@link LauncherError.fromEngine}
   * @param what the fact, lower case, without a full stop
   * @param hint what the user can do about it; empty when there is nothing to say
   */
  constructor(
    readonly code: ErrorCode,
    readonly what: string,
    readonly hint = '',
    /** The code to print, where it is not `code`: the engine's own. */
    readonly shownCode: string = code,
  ) {
    super(hint === '' ? what : `${what} - hint: ${hint}`);
  }

  /** An error that the engine reported, shown under the engine's code. */
  static fromEngine(error: { code: string; message: string; hint?: string | undefined }): LauncherError {
    return new LauncherError('ZS1204', error.message, error.hint ?? '', error.code);
  }

  /** The exit status for `mode`: running a COMMAND, or a subcommand. */
  exitStatus(mode: 'run' | 'command'): number {
    return ERRORS[this.code][mode];
  }
}

/** The text of anything that was thrown, in one line. */
export function textOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ');
}

/** The `code` of a system error (`ENOENT`), or `undefined`. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code;
  return undefined;
}
