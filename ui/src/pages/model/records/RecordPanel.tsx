import { Drawer } from '@mantine/core';
import type { ReactNode } from 'react';
import { count, countOf, exact, ms } from '../../../format';
import { Command } from '../../../parts/Command';
import { Copy } from '../../../parts/Copy';
import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { brief, quoted, type RecordRow, useRecord, values } from './api';
import { StatusState } from './columns';
import { Way } from './Way';

/** One request with all that is kept of it. */
export function RecordPanel({ project, model, id, listed, onClose }: {
  project: string;
  model: string;
  id: string;
  listed: readonly RecordRow[];
  onClose: () => void;
}) {
  const { data: rows, error, isPending, refetch } = useRecord(project, model, id, listed);
  return (
    <Drawer opened onClose={onClose} position="right" size={560} title="Request" transitionProps={{ duration: 80 }} closeButtonProps={{ 'aria-label': 'Close' }}>
      {error ? (
        <Failed problem={error} onRetry={() => void refetch()} />
      ) : isPending ? (
        <Skeletons lines={10} />
      ) : rows?.[0] ? (
        <Request rows={rows} first={rows[0]} project={project} model={model} />
      ) : (
        <Empty icon="search" title="No record of this request is kept" command={`decalog records ${model} --id ${id}`} />
      )}
    </Drawer>
  );
}

function Request({ rows, first, project, model }: { rows: readonly RecordRow[]; first: RecordRow; project: string; model: string }) {
  const named = project === 'default' ? model : `${project}/${model}`;
  return (
    <div className="record">
      <div className="record-head">
        <StatusState row={first} />
        <span className="num">{exact(Date.parse(first.time))}</span>
      </div>
      {first.error && <p className="record-error">{first.error}</p>}
      <TimeSplit row={first} />
      {rows.map((row) => (
        <section key={row.row} className="record-row">
          {rows.length > 1 && <h3>Row {row.row + 1} <span className="dim">of {rows.length}</span></h3>}
          <Values title="Inputs" list={values(row, 'in')} payload={row.payload} />
          <Values title="Outputs" list={values(row, 'out')} payload={row.payload} />
        </section>
      ))}
      <Way row={first} project={project} model={model} />
      <dl className="record-facts">
        <Fact title="Answered by">{first.version}{first.replica && <span className="dim"> on {first.replica}</span>}{first.copy && ' (a copy for a shadow)'}</Fact>
        <Fact title="Batch">{first.batch_rows > 0 ? `${countOf(first.batch_rows, 'row')}, from place ${count(first.batch_offset + 1)}` : 'none'}</Fact>
        {first.key && <Fact title="Key" copy={first.key}>{first.key}</Fact>}
        {first.principal && <Fact title="Asked by">{first.principal}</Fact>}
        <Fact title="Id" copy={first.id}><code>{first.id}</code></Fact>
        {first.trace && <Fact title="Trace" copy={first.trace}><code>{first.trace}</code></Fact>}
        {first.weight !== 1 && <Fact title="Stands for">{first.weight.toFixed(1)} requests: it is a sample</Fact>}
      </dl>
      <div className="record-commands">
        <Command>{`decalog records ${named} --id ${first.id} --json`}</Command>
        <Command>{`decalog sql "select * from records where model = ${quoted(model)} and id = ${quoted(first.id)}"`}</Command>
      </div>
    </div>
  );
}

/** Where the time went, as one bar. */
function TimeSplit({ row }: { row: RecordRow }) {
  const parts = [
    { name: 'Queue', us: row.queue_us, kind: 'queue' },
    { name: 'Model', us: row.worker_us, kind: 'model' },
    { name: 'Decalog', us: Math.max(0, row.total_us - row.queue_us - row.worker_us), kind: 'rest' },
  ];
  return (
    <div className="time-split">
      <div className="time-split-title"><b className="num">{ms(row.total_us / 1000)}</b> <span className="dim">in all</span></div>
      <div className="time-split-bar" aria-hidden="true">
        {parts.map((part) => <span key={part.kind} data-kind={part.kind} style={{ width: `${(part.us / Math.max(1, row.total_us)) * 100}%` }} />)}
      </div>
      <div className="time-split-words">
        {parts.map((part) => (
          <span key={part.kind}>
            <span className="time-split-swatch" data-kind={part.kind} aria-hidden="true" />{part.name} <span className="num">{ms(part.us / 1000)}</span>
          </span>
        ))}
      </div>
    </div>
  );
}

const NOT_KEPT: Readonly<Record<string, string>> = {
  none: 'No values: no rows of it were read.',
  large: 'Not kept: they take more than 64 KiB.',
  dropped: 'Not kept: there was no room.',
};

function Values({ title, list, payload }: { title: string; list: ReturnType<typeof values>; payload: string }) {
  const none = NOT_KEPT[payload];
  if (list.length === 0 && !none) return null;
  return (
    <div>
      <h3>{title}</h3>
      {none ? <p className="dim">{none}</p> : (
        <table className="record-values">
          <tbody>
            {list.map(({ name, value, shape }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>
                  {value === null ? <span className="dim">missing</span> : <span className="num">{typeof value === 'number' ? String(value) : brief(value)}</span>}
                  {Array.isArray(shape) && <span className="dim"> shape {shape.join(' × ')}</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function Fact({ title, copy, children }: { title: string; copy?: string; children: ReactNode }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd>{children}{copy && <Copy text={copy} label={`Copy the ${title.toLowerCase()}`} />}</dd>
    </div>
  );
}
