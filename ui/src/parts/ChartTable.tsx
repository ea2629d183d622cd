import { useMemo } from 'react';
import { inUnit, type Unit } from '../format';
import type { Series } from './Chart';
import { type Column, DataTable } from './DataTable';
import { Time } from './Time';

/** The values behind a chart, the newest first. */
export function ChartTable({ title, unit, times, series, height }: {
  title: string;
  unit: Unit;
  times: readonly number[];
  series: readonly Series[];
  height: number;
}) {
  const rows = useMemo(() => times.map((_, index) => times.length - 1 - index), [times]);
  const columns = useMemo<Column<number>[]>(
    () => [
      { id: 'time', title: 'Time', width: 150, grow: 1, cell: (index) => <Time at={times[index]} as="moment" /> },
      ...series.map((one, at): Column<number> => ({
        id: `series-${at}`, title: one.label, width: 90, grow: 1, align: 'right',
        cell: (index) => <span className="num">{inUnit(one.values[index], unit)}</span>,
      })),
    ],
    [times, series, unit],
  );
  return <DataTable label={title} rows={rows} columns={columns} rowKey={String} maxHeight={height} />;
}
