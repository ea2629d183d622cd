import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { Schema } from '../../../api/client';
import { count, countOf, share } from '../../../format';
import { resolve } from '../../../range';
import { Chart } from '../../../parts/Chart';
import { Empty, Failed } from '../../../parts/Notices';
import { useNow } from '../../../parts/now';
import { RangePicker } from '../../../parts/RangePicker';
import { Skeletons } from '../../../parts/Skeletons';
import { BandChart } from '../truth/BandChart';
import type { TabProps } from '../tabs/props';
import { fitting, useMetrics } from './api';

const route = getRouteApi('/models/$project/$model');

const MEANS: Readonly<Record<string, string>> = {
  text: 'Length of texts', tensor: 'Norm of tensors', bool: 'Share of true',
};

/** What the values of a column were over a time: middle and spread, what is missing, how many different ones, and which. */
export function ColumnOverTime({ project, model, environment, column, direction, version }: TabProps & { column: string; direction: string; version: string }) {
  const { since, from, to } = route.useSearch();
  const navigate = route.useNavigate();
  const range = resolve({ since, from, to }, useNow(60_000), '24h');
  const { data, error, isPending, refetch } = useMetrics(project, model, {
    environment, column, by: fitting(range.to - range.from), from_ms: range.from, to_ms: range.to,
  });
  const rows = useMemo(
    () => data?.columns.filter((row) => row.column === column && row.direction === direction && row.version === version) ?? [],
    [data, column, direction, version],
  );
  const select = (start: number, end: number) => void navigate({ search: (all) => ({ ...all, since: undefined, from: Math.round(start), to: Math.round(end) }) });
  return (
    <section className="over-time" aria-label="Over time">
      <div className="data-bar">
        <h2>Over time <span className="dim">{version}</span></h2>
        <div className="data-tools">
          <RangePicker value={{ since, from, to }} otherwise="24h" onChange={(next) => void navigate({ search: (all) => ({ ...all, ...next }) })} />
        </div>
      </div>
      {error && !data ? (
        <Failed problem={error} onRetry={() => void refetch()} />
      ) : isPending ? (
        <Skeletons lines={4} />
      ) : rows.length === 0 ? (
        <Empty icon="chart" title={`${version} had no values of ${column} in this time`} command={`decalog metrics ${model} --column ${column}`} />
      ) : (
        <Charts rows={rows} range={range} onSelect={select} />
      )}
    </section>
  );
}

function Charts({ rows, range, onSelect }: { rows: readonly Schema<'ColumnMetrics'>[]; range: { from: number; to: number }; onSelect: (from: number, to: number) => void }) {
  const { values, times, missing, distinct } = useMemo(() => ({
    times: rows.map((row) => row.start_ms),
    values: rows.map((row) => ({ at: row.start_ms, value: row.mean, low: row.p5, high: row.p95, n: row.count })),
    missing: [{ label: 'Missing', values: rows.map((row) => (row.count > 0 ? row.missing / row.count : null)), style: 1 }],
    distinct: [{ label: 'Different values', values: rows.map((row) => row.distinct), style: 2 }],
  }), [rows]);
  const shared = { times, from: range.from, to: range.to, height: 120, cursor: 'column', onSelect };
  return (
    <div className="over-time-grid">
      <div className="over-time-wide">
        <BandChart
          title={MEANS[rows[0]?.kind ?? ''] ?? 'Values'} series={[{ label: 'mean', band: '5% to 95% of the values', points: values }]} {...range}
        />
      </div>
      <Chart title="Missing" unit="share" series={missing} {...shared} />
      <Chart title="Different values" unit="count" series={distinct} {...shared} />
      <TopValues rows={rows} />
    </div>
  );
}

/** The most frequent values of all of the time, each at least so often. */
function TopValues({ rows }: { rows: readonly Schema<'ColumnMetrics'>[] }) {
  const sums = new Map<string, number>();
  for (const row of rows) for (const { value, count: times } of row.top) sums.set(value, (sums.get(value) ?? 0) + times);
  const all = rows.reduce((sum, row) => sum + row.count - row.missing, 0);
  const top = [...sums].toSorted((one, other) => other[1] - one[1]).slice(0, 8);
  if (top.length === 0 || all === 0) return null;
  return (
    <table className="top-values">
      <caption>Most frequent values <span className="dim">of {countOf(all, 'row')}</span></caption>
      <tbody>
        {top.map(([value, times]) => (
          <tr key={value}>
            <th scope="row" title={value}>{value === '' ? <span className="dim">empty text</span> : value}</th>
            <td className="top-bar"><span style={{ width: `${Math.min(1, times / all) * 100}%` }} /></td>
            <td className="num" title={`at least ${count(times)} rows`}>{share(Math.min(1, times / all))}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
