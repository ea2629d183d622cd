import { Link } from '@tanstack/react-router';
import { count, inUnit, NOTHING } from '../../../format';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import type { Series } from './api';
import { BinsSmall } from './Bins';
import { changedIn, moved, percent } from './words';

export function SeriesState({ series, plain = false }: { series: Series; plain?: boolean }) {
  if (series.changed.length === 0) return <State tone="good" plain={plain}>usual</State>;
  return (
    <State tone="warning" plain={plain} explain={changedIn(series)}>
      changed{!plain && series.since_ms !== null && <> since <Time at={series.since_ms} as="moment" /></>}
    </State>
  );
}

/** What moved most, such as `Delft 20% → 45%`. */
export function Moved({ series }: { series: Series }) {
  const most = moved(series);
  if (!most) return <span className="dim">No share moved</span>;
  return (
    <>
      <span className="cut">{most.what}</span>
      <span className="num nowrap"><span className="dim">{percent(most.was)} →</span> <b>{percent(most.is)}</b></span>
    </>
  );
}

/** One column at a glance; it opens with all that is known of it. */
export function SeriesCard({ series }: { series: Series }) {
  const psi = series.numbers.find((number) => number.method === 'psi');
  return (
    <Link
      className="series-card" from="/models/$project/$model" to="." data-changed={series.changed.length > 0 || undefined}
      search={(all) => ({ ...all, column: series.name })}
    >
      <span className="series-head">
        <span className="series-name cut" title={series.name}>{series.name}</span>
        <SeriesState series={series} plain />
      </span>
      <BinsSmall series={series} />
      <span className="series-moved"><Moved series={series} /></span>
      <span className="series-foot dim small num">
        <span>PSI {psi?.value === null || psi === undefined ? NOTHING : inUnit(psi.value, 'plain')} · n {count(series.rows)}</span>
        {series.since_ms !== null && <span>since <Time at={series.since_ms} as="moment" /></span>}
      </span>
    </Link>
  );
}
