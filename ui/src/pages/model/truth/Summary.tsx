import { Tooltip } from '@mantine/core';
import { count, day, share, span } from '../../../format';
import { type Column, DataTable } from '../../../parts/DataTable';
import { State } from '../../../parts/State';
import type { Metric, Window } from './api';
import { figure, isEstimated, MATURITIES, METRICS, metricsOf, plusMinus, shown } from './words';

/** Each version by all of the time that is looked at. */
export function Summary({ windows, label }: { windows: readonly Window[]; label: string }) {
  const metrics = metricsOf(windows);
  const columns: Column<Window>[] = [
    { id: 'version', title: 'Version', width: 72, cell: (window) => <b>{window.version}</b> },
    { id: 'window', title: 'Predicted', width: 120, grow: 1, from: 620, cell: (window) => <Days window={window} /> },
    ...metrics.map((metric, at): Column<Window> => ({
      id: metric, title: METRICS[metric].title, hint: METRICS[metric].hint, width: 104, grow: 1, from: at < 1 ? 0 : 560 + at * 112,
      cell: (window) => <Quality window={window} metric={metric} />,
    })),
    { id: 'coverage', title: 'Truth known', width: 130, from: 460, cell: (window) => <Coverage window={window} /> },
    { id: 'late', title: 'Late', hint: 'How long after its prediction truth came, in the mean.', width: 96, align: 'right', from: 760, cell: (window) => <span className="num">{span(window.late_ms)}</span> },
    { id: 'maturity', title: 'State', width: 108, cell: (window) => <MaturityState window={window} /> },
  ];
  return <DataTable label={label} rows={windows} columns={columns} rowKey={(window) => `${window.version} ${window.output} ${window.from_ms}`} maxHeight={360} />;
}

function Days({ window }: { window: Window }) {
  const [from, to] = [day(window.from_ms), day(window.to_ms - 1)];
  return <span className="num">{from === to ? from : `${from} – ${to.slice(5)}`}</span>;
}

export function MaturityState({ window }: { window: Window }) {
  const { word, tone, explain } = MATURITIES[window.maturity];
  return <State plain tone={tone} explain={explain}>{word}</State>;
}

/** A value, how sure it is, and whether anybody knows it yet. */
export function Quality({ window, metric }: { window: Window; metric: Metric }) {
  const number = shown(window, metric);
  if (!number) return <span className="dim">–</span>;
  const off = number.error_max > 0 ? `; off by ${number.error_max.toFixed(4)} at most, as scores are kept in bins` : '';
  const explain = `${number.estimated ? 'Estimated by the probabilities of the model. ' : ''}95% interval from ${figure(number.low)} to ${figure(number.high)}, n = ${count(number.n)}${number.class ? `, of ${number.class}` : ''}${off}`;
  return (
    <Tooltip label={explain}>
      <span className={number.estimated ? 'num estimated' : 'num'}>
        {number.estimated ? '~' : ''}{figure(number.value)} <span className="dim">{plusMinus(number)}</span>
      </span>
    </Tooltip>
  );
}

/** The share of predictions whose truth is known, as a bar and in words. */
export function Coverage({ window }: { window: Window }) {
  return (
    <span className="coverage" title={`${count(window.known)} of ${count(window.predictions)} predictions${isEstimated(window) ? '; shown is an estimate' : ''}`}>
      <span className="coverage-bar" aria-hidden="true"><span style={{ width: `${window.coverage * 100}%` }} /></span>
      <span className="num">{share(window.coverage)}</span>
    </span>
  );
}
