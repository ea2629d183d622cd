import { count, inUnit, type Unit } from '../../../format';
import { type Column, DataTable } from '../../../parts/DataTable';
import { Time } from '../../../parts/Time';
import type { BandSeries } from './BandChart';
import type { Point } from './scale';

interface Row extends Point {
  label: string;
}

/** The values behind a chart with intervals, the newest first. */
export function BandTable({ title, series, unit }: { title: string; series: readonly BandSeries[]; unit: Unit }) {
  const rows = series.flatMap((one) => one.points.map((point): Row => ({ ...point, label: one.label }))).toSorted((one, other) => other.at - one.at);
  const columns: Column<Row>[] = [
    { id: 'time', title: 'Time', width: 130, grow: 1, cell: (row) => <Time at={row.at} as="moment" /> },
    { id: 'what', title: 'What', width: 110, grow: 1, cell: (row) => row.label },
    { id: 'value', title: 'Value', width: 80, align: 'right', cell: (row) => inUnit(row.value, unit) },
    { id: 'low', title: 'From', width: 80, align: 'right', cell: (row) => inUnit(row.low, unit) },
    { id: 'high', title: 'To', width: 80, align: 'right', cell: (row) => inUnit(row.high, unit) },
    { id: 'n', title: 'n', width: 80, align: 'right', cell: (row) => count(row.n) },
  ];
  return <DataTable label={title} rows={rows} columns={columns} rowKey={(row) => `${row.at} ${row.label}`} maxHeight={220} />;
}
