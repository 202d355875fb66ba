// SPDX-License-Identifier: BSD-3-Clause
/** The report for people: one HTML file without anything from elsewhere; only the logs lie beside it. */
import { BACKENDS, caseId, type Backend, type Case } from '../case.js';
import type { LeftOut } from '../plan.js';
import type { Result } from '../run.js';
import { counted } from './lines.js';

export interface PageData {
  readonly title: string;
  readonly machine: string;
  readonly results: readonly Result[];
  readonly leftOut: readonly LeftOut[];
  readonly differences: readonly string[];
  readonly repeat: (result: Result) => string;
}

const STYLE = `
:root { color-scheme: light dark; --pass: #1a7f37; --fail: #cf222e; --out: #6e7781; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: Canvas; }
tr.program th { padding-top: 1.2rem; font-size: 1.05rem; }
.pass { color: var(--pass); } .fail { color: var(--fail); font-weight: 600; } .out { color: var(--out); }
details { display: inline; } details[open] { display: block; }
summary { cursor: pointer; list-style: none; }
code { display: block; white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: .2rem .4rem; margin: .2rem 0; }
small { color: var(--out); }
`;

export function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (c) => names[c] ?? c);
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function suite({ tests, excepted }: Result): string {
  if (tests === undefined) return '';
  const { pass = 0, fail = 0, skip = 0 } = counted(tests);
  const text = `${pass} tests passed, ${fail} failed, ${skip} skipped`;
  return `<small>${text}${excepted.length > 0 ? `; exceptions: ${escaped(excepted.join(', '))}` : ''}</small>`;
}

function ranCell(result: Result, repeat: string): string {
  const { status, reason, evidence, milliseconds, log } = result;
  const mark = status === 'pass' ? '&#10003; pass' : '&#10007; FAIL';
  const why = reason === '' ? '' : `<code>${escaped(reason)}</code>`;
  return `<td><details${status === 'fail' ? ' open' : ''}><summary class="${status}">${mark} <small>${seconds(milliseconds)}</small></summary>
${why}${evidence === '' ? '' : `<small>${escaped(evidence)}</small>`}
<code>${escaped(repeat)}</code><a href="${escaped(encodeURI(log))}">log</a></details> ${suite(result)}</td>`;
}

function row(each: Case, data: PageData): string {
  const id = caseId(each);
  const of = (backend: Backend) => (cell: { each: Case; backend: Backend }) =>
    caseId(cell.each) === id && cell.backend === backend;
  const cells = BACKENDS.map((backend) => {
    const result = data.results.find(of(backend));
    if (result !== undefined) return ranCell(result, data.repeat(result));
    const left = data.leftOut.find(of(backend));
    return left === undefined ? '<td class="out">&ndash;</td>' : `<td class="out">left out: ${escaped(left.why)}</td>`;
  });
  return `<tr><td>${escaped(each.name)}</td>${cells.join('')}</tr>`;
}

/** The whole page. */
export function page(data: PageData): string {
  const { title, machine, results, leftOut, differences } = data;
  const cases = [...new Map([...results, ...leftOut].map(({ each }) => [caseId(each), each])).values()];
  const programs = [...new Set(cases.map(({ program }) => program))];
  const passed = results.filter(({ status }) => status === 'pass').length;
  const rows = programs.flatMap((program) => [
    `<tr class="program"><th colspan="${BACKENDS.length + 1}">${escaped(program)}</th></tr>`,
    ...cases.filter((each) => each.program === program).map((each) => row(each, data)),
  ]);
  const list = differences.map((text) => `<li>${escaped(text)}</li>`).join('');
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title><style>${STYLE}</style></head><body>
<h1>${escaped(title)}</h1>
<p>${escaped(machine)}</p>
<p><span class="pass">${passed} passed</span>, <span class="fail">${results.length - passed} failed</span>,
<span class="out">${leftOut.length} left out</span></p>
${list === '' ? '<p>All as expected.</p>' : `<h2>Not as expected</h2><ul class="fail">${list}</ul>`}
<table><thead><tr><th>case</th>${BACKENDS.map((backend) => `<th>${backend}</th>`).join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table>
</body></html>
`;
}
