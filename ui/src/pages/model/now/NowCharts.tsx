import { Skeleton } from '@mantine/core';
import { useMemo } from 'react';
import type { Unit } from '../../../format';
import { Chart, type Mark } from '../../../parts/Chart';
import { Icon } from '../../../parts/Icon';
import type { Metric } from '../why/words';
import type { Measured } from './read';
import { Seen } from './Seen';
import { type Line, toLines } from './series';

const HEIGHT = 124;
const WHOLE = HEIGHT + 48;

/** Requests, latency and errors on one axis of time. */
export function NowCharts({ measured, marks, onSelect }: {
  measured: Measured | undefined;
  marks: readonly Mark[];
  /** A stretch was dragged over, and of which number if `why` knows it. */
  onSelect: (from: number, to: number, metric: Metric | undefined) => void;
}) {
  const lines = useMemo(
    () => measured && toLines(measured.requests, measured.step, measured.from, measured.to, Date.now()),
    [measured],
  );
  if (!measured || !lines) return <Waiting />;
  const shown: [string, Unit, Line[], Metric?][] = [
    ['Requests', 'rate', lines.requests],
    ['Latency', 'ms', lines.latency, 'latency'],
    ['Errors by code', 'rate', lines.errors, 'errors'],
  ];
  if (lines.parts.length > 0) shown.splice(2, 0, ['Where the time goes, on average', 'ms', lines.parts, 'latency']);
  if (lines.rows.length > 0) shown.push(['Rows of a request', 'plain', lines.rows]);
  return (
    <>
      {measured.isCut && (
        <p className="now-note"><Icon name="info" size={14} /> This range has more than the server tells at once: the last part is missing. Choose a shorter one.</p>
      )}
      <div className="now-charts">
        {shown.map(([title, unit, series, metric]) => (
          <Seen key={title} height={WHOLE}>
            {() => (
              <Chart
                title={title} unit={unit} times={lines.times} series={series} marks={marks} height={HEIGHT} cursor="now"
                from={measured.from} to={measured.to} onSelect={(start, end) => onSelect(start, end, metric)}
              />
            )}
          </Seen>
        ))}
      </div>
    </>
  );
}

function Waiting() {
  return (
    <div className="now-charts" role="status" aria-label="Loading">
      {[0, 1, 2].map((index) => <Skeleton key={index} height={WHOLE} />)}
    </div>
  );
}
