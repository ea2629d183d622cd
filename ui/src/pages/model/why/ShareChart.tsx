import { useMemo } from 'react';
import { Chart } from '../../../parts/Chart';
import type { Mark } from '../../../parts/ChartMarks';
import type { Chart as Shares } from './api';
import { timesOf } from './words';

/** A share over time: of those in question and of those beside them, with a mark where it changed. */
export function ShareChart({ title, chart, changedAt, height }: { title: string; chart: Shares; changedAt: number | null | undefined; height: number }) {
  const times = useMemo(() => timesOf(chart), [chart]);
  const series = useMemo(() => chart.lines.map((line, style) => ({ label: line.name, values: line.values, style })), [chart]);
  const marks = useMemo<Mark[]>(() => (changedAt ? [{ at: changedAt, label: 'it changed', icon: 'info' }] : []), [changedAt]);
  return <Chart title={title} unit="share" times={times} series={series} marks={marks} height={height} cursor="why" />;
}
