import { useMemo } from 'react';
import type { Schema } from '../../../api/client';
import { NOTHING } from '../../../format';
import { type Column, DataTable } from '../../../parts/DataTable';
import { typeOf } from '../try/columns';

type Row = Schema<'Column'> & { direction: 'Inputs' | 'Outputs' };

const columns: Column<Row>[] = [
  { id: 'name', title: 'Column', width: 120, grow: 1, cell: (row) => <code>{row.name}</code> },
  { id: 'type', title: 'Type', width: 110, grow: 1, cell: typeOf },
  { id: 'may', title: 'May be left out', width: 120, from: 480, cell: (row) => leftOut(row) },
  {
    id: 'values', title: 'Only these values', width: 120, grow: 2, from: 640,
    cell: (row) => (row.categories ? <span title={row.categories.join(', ')}>{row.categories.join(', ')}</span> : <span className="dim">{NOTHING}</span>),
  },
];

function leftOut(row: Row) {
  if (row.direction === 'Outputs') return <span className="dim">{row.nullable ? 'may be null' : NOTHING}</span>;
  if (row.default !== undefined && row.default !== null) return <>is <code>{JSON.stringify(row.default)}</code> then</>;
  return row.nullable ? 'is null then' : <span className="dim">{NOTHING}</span>;
}

/** What a row has to have, and what an answer has. */
export function SchemaTable({ schema }: { schema: Schema<'Schema'> }) {
  const rows = useMemo<Row[]>(
    () => [
      ...schema.inputs.map((column): Row => ({ ...column, direction: 'Inputs' })),
      ...(schema.outputs ?? []).map((column): Row => ({ ...column, direction: 'Outputs' })),
    ],
    [schema],
  );
  return (
    <>
      <DataTable label="Columns of inputs and outputs" rows={rows} columns={columns} group={(row) => row.direction} rowKey={(row) => `${row.direction} ${row.name}`} maxHeight={420} />
      {(schema.outputs ?? []).length === 0 && <p className="dim small">What it answers is known only when it runs.</p>}
    </>
  );
}
