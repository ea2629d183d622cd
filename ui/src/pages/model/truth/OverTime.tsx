import { Select } from '@mantine/core';
import { useMemo } from 'react';
import type { Metric, Window } from './api';
import { BandChart, type BandSeries } from './BandChart';
import type { Point } from './scale';
import { main, METRICS } from './words';

/** One metric over the windows, a line for each version; what is estimated is a line of its own. */
export function QualityOverTime({ windows, metric, metrics, onMetric, range }: {
  windows: readonly Window[];
  metric: Metric;
  metrics: readonly Metric[];
  onMetric: (metric: Metric) => void;
  range: { from: number; to: number };
}) {
  const series = useMemo(() => lines(windows, metric), [windows, metric]);
  return (
    <section className="truth-time" aria-label="Over time">
      <Select
        aria-label="Metric" w={150} allowDeselect={false} value={metric} data={metrics.map((name) => ({ value: name, label: METRICS[name].title }))}
        onChange={(name) => onMetric((name ?? metric) as Metric)}
      />
      <BandChart title={`${METRICS[metric].title} by the time of the prediction`} series={series} {...range} height={220} />
    </section>
  );
}

function lines(windows: readonly Window[], metric: Metric): BandSeries[] {
  const versions = [...new Set(windows.map((window) => window.version))];
  return versions.flatMap((version, style) => {
    const own = windows.filter((window) => window.version === version);
    const known = points(own, metric, (window) => window.numbers);
    const estimated = points(own, metric, (window) => (window.is_estimate_trusted === false || window.coverage >= 0.99 ? [] : window.estimates));
    return [
      { label: version, points: known, style },
      { label: `${version} estimated`, points: estimated, style, estimated: true },
    ].filter((line) => line.points.length > 0);
  });
}

function points(windows: readonly Window[], metric: Metric, of: (window: Window) => Window['numbers']): Point[] {
  return windows.flatMap((window) => {
    const number = main(of(window), metric);
    return number ? [{ at: (window.from_ms + window.to_ms) / 2, value: number.value, low: number.low, high: number.high, n: number.n }] : [];
  }).toSorted((one, other) => one.at - other.at);
}
