/** One line of a plot. */
export interface PlotPoint {
  readonly size: number;
  /** Median, least and most. */
  readonly values: readonly [number, number, number];
}

const WIDTH = 560;
const HEIGHT = 240;
const EDGE = { left: 56, right: 16, top: 34, bottom: 40 };
const STEPS = 4;

/** A plot as SVG: the sizes at even distances, the values from zero, with their spread. */
export function plot(title: string, unit: string, points: readonly PlotPoint[]): string {
  const top = niceTop(Math.max(...points.map(({ values }) => values[2])));
  const across = (index: number) =>
    EDGE.left + ((WIDTH - EDGE.left - EDGE.right) * (index + 0.5)) / Math.max(1, points.length);
  const up = (value: number) => HEIGHT - EDGE.bottom - ((HEIGHT - EDGE.top - EDGE.bottom) * value) / top;
  const grid = Array.from({ length: STEPS + 1 }, (_, step) => {
    const value = (top * step) / STEPS;
    const y = up(value).toFixed(1);
    return `<path d="M${EDGE.left} ${y}H${WIDTH - EDGE.right}" stroke="#ddd"/><text x="${EDGE.left - 6}" y="${Number(y) + 4}" text-anchor="end">${short(value)}</text>`;
  });
  const marks = points.map(({ size, values: [middle, low, high] }, index) => {
    const x = across(index).toFixed(1);
    return `<path d="M${x} ${up(low).toFixed(1)}V${up(high).toFixed(1)}" stroke="#2a6" stroke-width="6" stroke-opacity=".3"/><circle cx="${x}" cy="${up(middle).toFixed(1)}" r="4" fill="#2a6"/><text x="${x}" y="${HEIGHT - EDGE.bottom + 18}" text-anchor="middle">${size.toLocaleString('en')}</text>`;
  });
  const line = points.map(({ values }, index) => `${across(index).toFixed(1)},${up(values[0]).toFixed(1)}`).join(' ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${EDGE.left}" y="20" font-size="14">${title}: µs of CPU for each request</text>
${grid.join('\n')}
<polyline points="${line}" fill="none" stroke="#2a6" stroke-width="2"/>
${marks.join('\n')}
<text x="${WIDTH - EDGE.right}" y="${HEIGHT - 6}" text-anchor="end">${unit}</text>
</svg>
`;
}

function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= value) ?? value;
}

function short(value: number): string {
  return value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1);
}
