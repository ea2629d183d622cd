import { Button, Tooltip } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { count, countOf, plain, share } from '../../../format';
import { Command } from '../../../parts/Command';
import { Icon } from '../../../parts/Icon';
import { Empty } from '../../../parts/Notices';
import type { TabProps } from '../tabs/props';
import type { Drift, Series } from './api';
import { BinsLarge } from './Bins';
import { ColumnOverTime } from './ColumnOverTime';
import { Moved, SeriesState } from './SeriesCard';
import { METHODS } from './words';

/** One column with all its bins, its numbers, and how it was over time. */
export function SeriesView({ drift, name, reference, ...tab }: TabProps & { drift: Drift; name: string; reference: string }) {
  const { model, environment } = tab;
  const series = drift.series.find((one) => one.name === name);
  return (
    <div className="data">
      <div className="data-bar">
        <Button
          variant="default" leftSection={<Icon name="left" size={14} />}
          renderRoot={(props) => <Link from="/models/$project/$model" to="." search={(all) => ({ ...all, column: undefined })} {...props} />}
        >
          All columns
        </Button>
      </div>
      {series ? (
        <>
          <header className="series-title">
            <h2>{series.name}</h2>
            <span className="dim">{series.direction === 'in' ? 'input' : 'output'}{series.slice ? ` where ${series.slice}` : ''}</span>
            <SeriesState series={series} />
            <span className="series-title-moved"><Moved series={series} /></span>
          </header>
          <div className="series-split">
            <BinsLarge series={series} reference={series.direction === 'in' ? reference : 'learned'} />
            <Figures series={series} />
          </div>
          {series.slice ? null : <ColumnOverTime {...tab} column={series.column} direction={series.direction} version={`v${drift.version}`} />}
          <div><Command>{`decalog drift ${environment === 'production' ? model : `${model}@${environment}`} --column ${quoted(series.name)}`}</Command></div>
        </>
      ) : (
        <Empty icon="search" title={`No values of “${name}” are watched`} command={`decalog drift ${model}`} />
      )}
    </div>
  );
}

function quoted(name: string): string {
  return /^[\w:.-]+$/.test(name) ? name : `'${name}'`;
}

function Figures({ series }: { series: Series }) {
  return (
    <div>
      <dl className="figures">
      <Figure title="Rows" value={count(series.rows)} against={countOf(series.reference_rows, 'row')} />
      <Figure title="Missing" value={share(series.missing)} against={share(series.reference_missing)} />
      {series.unseen !== null && <Figure title="In no category" value={share(series.unseen)} />}
      {series.out_of_range !== null && <Figure title="Outside the reference" value={share(series.out_of_range)} />}
      {series.numbers.map(({ method, value, n, reference_n }) => (
        <Figure
          key={method} title={METHODS[method]?.name ?? method} hint={METHODS[method]?.hint} value={value === null ? 'too few values' : plain(value)}
          against={`n = ${count(n)} and ${count(reference_n)}`} isQuiet={value === null}
        />
      ))}
      </dl>
      <p className="dim small figures-note">No alarm is made of these distances: they grow with fewer values although nothing changes.</p>
    </div>
  );
}

function Figure({ title, value, against, hint, isQuiet }: { title: string; value: string; against?: string; hint?: string | undefined; isQuiet?: boolean }) {
  return (
    <div>
      <dt>{hint ? <Tooltip label={hint}><span className="hinted" tabIndex={0}>{title}</span></Tooltip> : title}</dt>
      <dd className="num">
        <span className={isQuiet ? 'dim' : 'figure'}>{value}</span>
        {against && <span className="dim small">{against.startsWith('n =') ? against : `of the reference: ${against}`}</span>}
      </dd>
    </div>
  );
}
