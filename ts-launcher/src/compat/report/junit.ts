// SPDX-License-Identifier: BSD-3-Clause
/** JUnit's XML: a `testsuite` per program, a `testcase` per cell. */
import { XMLBuilder } from 'fast-xml-parser';
import { BACKENDS } from '../case.js';
import type { LeftOut } from '../plan.js';
import type { Result } from '../run.js';

interface Entry {
  readonly program: string;
  readonly failed: boolean;
  readonly skipped: boolean;
  readonly seconds: number;
  readonly node: object;
}

function ran({ each, backend, status, reason, evidence, milliseconds, log }: Result): Entry {
  const seconds = milliseconds / 1000;
  const failed = status === 'fail';
  const node = {
    '@classname': `${each.program}.${backend}`,
    '@name': each.name,
    '@time': seconds,
    ...(failed ? { failure: { '@message': printable(reason) } } : {}),
    'system-out': printable([evidence, `log: ${log}`].filter((text) => text !== '').join('\n')),
  };
  return { program: each.program, failed, skipped: false, seconds, node };
}

function left({ each, backend, why }: LeftOut): Entry {
  const node = { '@classname': `${each.program}.${backend}`, '@name': each.name, skipped: { '@message': why } };
  return { program: each.program, failed: false, skipped: true, seconds: 0, node };
}

/** XML 1.0 has no control characters, however they are written. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '?');
}

/** The whole document. */
export function junit(results: readonly Result[], leftOut: readonly LeftOut[]): string {
  const entries = [...results.map(ran), ...leftOut.map(left)];
  const programs = [...new Set(entries.map(({ program }) => program))];
  const sum = (list: readonly Entry[]) => ({
    '@tests': list.length,
    '@failures': list.filter(({ failed }) => failed).length,
    '@skipped': list.filter(({ skipped }) => skipped).length,
    '@time': Number(list.reduce((total, { seconds }) => total + seconds, 0).toFixed(3)),
  });
  const suites = programs.map((program) => {
    const own = entries.filter((entry) => entry.program === program);
    return { '@name': program, ...sum(own), testcase: own.map(({ node }) => node) };
  });
  const builder = new XMLBuilder({ ignoreAttributes: false, attributeNamePrefix: '@', format: true });
  const name = `zstack-run compat (${BACKENDS.join(', ')})`;
  const document = { testsuites: { '@name': name, ...sum(entries), testsuite: suites } };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${builder.build(document)}`;
}
