/** A small writer of line charts as SVG: self-contained, readable on light and dark pages. */

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Smallest and largest of the measurements that `y` is the median of. */
  readonly min?: number;
  readonly max?: number;
}

export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly Point[];
  readonly dashed?: boolean;
}

/** A straight line across a panel, at a height or at a place, with a few words. */
export interface Mark {
  readonly text: string;
  readonly x?: number;
  readonly y?: number;
  readonly colour: string;
}

export interface Panel {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  readonly marks: readonly Mark[];
  /** Draws y = x: everything that is asked for is done. */
  readonly diagonal?: string;
}

export interface Chart {
  readonly title: string;
  readonly panels: readonly Panel[];
  /** Lines of small print. */
  readonly notes: readonly string[];
}

const WIDTH = 620;
const HEIGHT = 400;
const LEFT = 74;
const RIGHT = 20;
const TOP = 74;
const BOTTOM = 56;
const LINE = 17;

/** Round values from 0 to at least `max`, about `wanted` of them. */
export function ticks(max: number, wanted = 6): number[] {
  if (!(max > 0)) return [0, 1];
  const raw = max / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= raw * 0.999) ?? raw;
  const count = Math.ceil((max / step) * 0.999);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

/** Text as XML has it. */
export function escapeXml(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => names[character] ?? character);
}

/** 1500 as `1.5k`. */
export function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  return value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3)));
}

const number = (value: number) => String(Math.round(value * 10) / 10);

function text(x: number, y: number, words: string, more = ''): string {
  return `<text x="${number(x)}" y="${number(y)}"${more}>${escapeXml(words)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, more: string): string {
  return `<line x1="${number(x1)}" y1="${number(y1)}" x2="${number(x2)}" y2="${number(y2)}" ${more}/>`;
}

/** The chart as an SVG document. */
export function svg(chart: Chart): string {
  const legend = Math.max(...chart.panels.map(({ series, diagonal }) => series.length + (diagonal ? 1 : 0)), 1);
  const height = HEIGHT + (legend + chart.notes.length) * LINE + 14;
  const width = WIDTH * chart.panels.length;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escapeXml(chart.title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(LEFT, 26, chart.title, ' font-size="16" font-weight="bold"'),
    ...chart.panels.map((panel, i) => `<g transform="translate(${i * WIDTH} 0)">\n${panelSvg(panel)}\n</g>`),
    ...chart.notes.map((note, i) =>
      text(LEFT, HEIGHT + (legend + i) * LINE + 8, note, ' fill="#555555" font-size="11"'),
    ),
    '</svg>\n',
  ].join('\n');
}

interface Scale {
  readonly xTicks: readonly number[];
  readonly yTicks: readonly number[];
  x(value: number): number;
  y(value: number): number;
}

function scaleOf({ series, marks }: Panel): Scale {
  const points = series.flatMap((each) => each.points);
  const xTicks = ticks(Math.max(...points.map(({ x }) => x), ...marks.map(({ x }) => x ?? 0), 0));
  const yTicks = ticks(Math.max(...points.map(({ y, max }) => max ?? y), ...marks.map(({ y }) => y ?? 0), 0));
  const to = (values: readonly number[], from: number, until: number) => {
    const last = values.at(-1) ?? 1;
    return (value: number) => from + (value / last) * (until - from);
  };
  return { xTicks, yTicks, x: to(xTicks, LEFT, WIDTH - RIGHT), y: to(yTicks, HEIGHT - BOTTOM, TOP) };
}

function panelSvg(panel: Panel): string {
  const scale = scaleOf(panel);
  return [
    text(LEFT, 56, panel.title, ' font-size="13"'),
    ...axes(panel, scale),
    ...(panel.diagonal === undefined ? [] : diagonal(scale)),
    ...panel.marks.flatMap((mark) => markSvg(mark, scale)),
    ...panel.series.flatMap((series) => seriesSvg(series, scale)),
    ...legendSvg(panel),
  ].join('\n');
}

function axes({ xLabel, yLabel }: Panel, { xTicks, yTicks, x, y }: Scale): string[] {
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  const grid = 'stroke="#e4e4e4"';
  return [
    ...yTicks.flatMap((tick) => [
      line(LEFT, y(tick), WIDTH - RIGHT, y(tick), tick === 0 ? 'stroke="#333333"' : grid),
      text(LEFT - 8, y(tick) + 4, short(tick), ' text-anchor="end"'),
    ]),
    ...xTicks.flatMap((tick) => [
      line(x(tick), TOP, x(tick), HEIGHT - BOTTOM, tick === 0 ? 'stroke="#333333"' : grid),
      text(x(tick), HEIGHT - BOTTOM + 17, short(tick), ' text-anchor="middle"'),
    ]),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 38, xLabel, ' text-anchor="middle"'),
    text(18, middle, yLabel, ` text-anchor="middle" transform="rotate(-90 18 ${number(middle)})"`),
  ];
}

const DIAGONAL = 'stroke="#999999" stroke-dasharray="2 3"';

function diagonal({ xTicks, yTicks, x, y }: Scale): string[] {
  const most = Math.min(xTicks.at(-1) ?? 1, yTicks.at(-1) ?? 1);
  return [line(x(0), y(0), x(most), y(most), DIAGONAL)];
}

function markSvg({ text: words, x: place, y: height, colour }: Mark, { x, y }: Scale): string[] {
  const stroke = `stroke="${colour}" stroke-dasharray="7 4" opacity="0.8"`;
  if (height !== undefined)
    return [
      line(LEFT, y(height), WIDTH - RIGHT, y(height), stroke),
      text(WIDTH - RIGHT - 4, y(height) - 5, words, ` text-anchor="end" fill="${colour}" font-size="11"`),
    ];
  if (place === undefined) return [];
  return [
    line(x(place), TOP, x(place), HEIGHT - BOTTOM, stroke),
    text(x(place) + 5, HEIGHT - BOTTOM - 8, words, ` fill="${colour}" font-size="11"`),
  ];
}

function seriesSvg({ points, colour, dashed }: Series, { x, y }: Scale): string[] {
  const sorted = [...points].sort((a, b) => a.x - b.x);
  const path = sorted.map((point) => `${number(x(point.x))},${number(y(point.y))}`).join(' ');
  const dash = dashed === true ? ' stroke-dasharray="6 4"' : '';
  return [
    ...sorted
      .filter(({ min, max }) => min !== undefined && max !== undefined)
      .map((point) =>
        line(
          x(point.x),
          y(point.min ?? point.y),
          x(point.x),
          y(point.max ?? point.y),
          `stroke="${colour}" opacity="0.45"`,
        ),
      ),
    `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`,
    ...sorted.map((point) => `<circle cx="${number(x(point.x))}" cy="${number(y(point.y))}" r="3" fill="${colour}"/>`),
  ];
}

function legendSvg({ series, diagonal: ideal }: Panel): string[] {
  const entries: [stroke: string, name: string][] = [
    ...series.map(({ name, colour, dashed }): [string, string] => [
      `stroke="${colour}" stroke-width="2"${dashed === true ? ' stroke-dasharray="6 4"' : ''}`,
      name,
    ]),
    ...(ideal === undefined ? [] : [[DIAGONAL, ideal] as [string, string]]),
  ];
  return entries.flatMap(([stroke, name], i) => {
    const y = HEIGHT + i * LINE + 2;
    return [line(LEFT, y - 4, LEFT + 26, y - 4, stroke), text(LEFT + 34, y, name)];
  });
}
