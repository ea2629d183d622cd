import { useMemo } from 'react';
import { type Column, DataTable } from '../../../parts/DataTable';
import type { Lineage } from './api';
import { describe } from './graph';
import { KINDS } from './Picture';

type Edge = Lineage['edges'][number];

/** All that leads to something, of every version. */
export function EdgeTable({ lineage }: { lineage: Lineage }) {
  const columns = useMemo<Column<Edge>[]>(() => {
    const told = (id: string) => {
      const { kind, title, about } = describe(lineage, id);
      return <span title={`${KINDS[kind]} ${title}: ${about}`}><span className="dim">{KINDS[kind]}</span> {title}</span>;
    };
    return [
      { id: 'from', title: 'What was there first', width: 130, grow: 2, cell: (edge) => told(edge.from) },
      { id: 'is', title: 'How', width: 80, cell: (edge) => edge.is },
      { id: 'to', title: 'What came of it', width: 130, grow: 2, cell: (edge) => told(edge.to) },
    ];
  }, [lineage]);
  return <DataTable label="Lineage" rows={lineage.edges} columns={columns} rowKey={(edge) => `${edge.from} ${edge.is} ${edge.to}`} />;
}
