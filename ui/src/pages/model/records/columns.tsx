import { ms } from '../../../format';
import type { Column } from '../../../parts/DataTable';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import { brief, type RecordRow, values } from './api';

export function StatusState({ row, plain = false }: { row: RecordRow; plain?: boolean }) {
  if (row.status < 400) return <State tone="good" plain={plain}>{row.status}</State>;
  return <State tone={row.status < 500 ? 'warning' : 'bad'} plain={plain} explain={plain ? row.error : null}>{`${row.status} ${row.code ?? ''}`}</State>;
}

const us = (value: number) => ms(value / 1000);

/** What of a record stands in the list; the values that fit, outputs first among equals. */
export function recordColumns(rows: readonly RecordRow[]): Column<RecordRow>[] {
  const first = rows[0];
  const outputs = first ? values(first, 'out').slice(0, 3) : [];
  const inputs = first ? values(first, 'in').slice(0, 6) : [];
  const value = (direction: 'in' | 'out', name: string, at: number): Column<RecordRow> => ({
    id: `${direction}.${name}`, title: name, hint: direction === 'in' ? 'Input' : 'Output', width: 92, grow: 1, from: (direction === 'out' ? 560 : 720) + at * 96,
    cell: (row) => {
      const text = brief(row[`${direction}.${name}` as 'in.']);
      return text === '–' ? <span className="dim">–</span> : <span title={text} className={direction === 'out' ? 'record-out num' : 'num'}>{text}</span>;
    },
  });
  return [
    { id: 'time', title: 'Time', width: 92, cell: (row) => <Time at={Date.parse(row.time)} as="moment" /> },
    { id: 'status', title: 'Status', width: 126, grow: 1, cell: (row) => <StatusState row={row} plain /> },
    { id: 'version', title: 'Version', width: 66, cell: (row) => <>{row.version}{row.copy && <span className="dim" title="A copy for a shadow"> copy</span>}</> },
    { id: 'total', title: 'Total', width: 72, align: 'right', cell: (row) => us(row.total_us) },
    { id: 'queue', title: 'Queue', width: 72, align: 'right', from: 640, cell: (row) => <span className="dim">{us(row.queue_us)}</span> },
    { id: 'worker', title: 'Model', width: 72, align: 'right', from: 640, cell: (row) => <span className="dim">{us(row.worker_us)}</span> },
    ...outputs.map(({ name }, at) => value('out', name, at)),
    ...inputs.map(({ name }, at) => value('in', name, at + outputs.length - 1)),
  ];
}
