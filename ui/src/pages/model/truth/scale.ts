/** Axes and paths of a chart of values with intervals. Pure. */
export interface Point {
  at: number;
  value: number | null;
  low: number | null;
  high: number | null;
  /** Of so many rows. */
  n: number;
}

/** Round numbers between two values, about as many as wanted. */
export function ticks(low: number, high: number, wanted: number): number[] {
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * power).find((by) => by >= rough) ?? rough;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

const STEPS = [60_000, 300_000, 600_000, 1_800_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000, 1_209_600_000];

/** Full minutes, hours or days of the reader's zone between two times. */
export function timeTicks(from: number, to: number, wanted: number): number[] {
  const step = STEPS.find((one) => one >= (to - from) / Math.max(1, wanted)) ?? 2_592_000_000;
  const zone = -new Date(from).getTimezoneOffset() * 60_000;
  const first = Math.ceil((from + zone) / step) * step - zone;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, at) => first + at * step);
}

/** The least and the greatest of all values and intervals, with some room. */
export function extent(points: readonly Point[]): [number, number] {
  const all = points.flatMap(({ value, low, high }) => [value, low, high]).filter((one) => one !== null);
  if (all.length === 0) return [0, 1];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = high === low ? Math.abs(high) * 0.1 || 1 : (high - low) * 0.08;
  return [low - room, high + room];
}

/** Points that follow each other; a longer pause begins anew. */
export function pieces(points: readonly Point[]): Point[][] {
  const known = points.filter((point) => point.value !== null);
  const steps = known.slice(1).map((point, at) => point.at - (known[at]?.at ?? 0)).toSorted((one, other) => one - other);
  const usual = steps[Math.floor(steps.length / 2)] ?? Infinity;
  const all: Point[][] = [];
  known.forEach((point, at) => {
    const before = known[at - 1];
    if (before && point.at - before.at <= usual * 3) all.at(-1)?.push(point);
    else all.push([point]);
  });
  return all;
}
