/** What a table is made of, apart from how it is drawn. Pure. */
import type { ReactNode } from 'react';

export interface Column<Row> {
  /** Of the sort in the address, too. */
  id: string;
  title: string;
  cell: (row: Row) => ReactNode;
  /** In pixels, at least. */
  width: number;
  /** Its share of what is left over; without it, it stays as wide as it is. */
  grow?: number;
  /** Numbers stand at the right. */
  align?: 'right';
  /** What the title means, on hover. */
  hint?: string;
  /** It is left out of tables narrower than this, in pixels. */
  from?: number;
  /** Whether the title sorts by it, and which way first. */
  sorts?: 'up' | 'down';
  /** What to sort by, for `sortRows`; without it, somebody else sorts. */
  by?: (row: Row) => number | string | null | undefined;
}

export interface Sort {
  by: string;
  down: boolean;
}

/** A sort as it stands in the address: `p99`, or `-p99` for the largest first. */
export function parseSort(text: string | undefined): Sort | undefined {
  if (!text) return undefined;
  return text.startsWith('-') ? { by: text.slice(1), down: true } : { by: text, down: false };
}

export function sortText(sort: Sort | undefined): string | undefined {
  return sort && (sort.down ? `-${sort.by}` : sort.by);
}

/** What a click on a title makes of the sort: the way that is useful first, then the other one. */
export function nextSort<Row>(column: Column<Row>, sort: Sort | undefined): Sort {
  const first = column.sorts === 'down';
  return { by: column.id, down: sort?.by === column.id ? !sort.down : first };
}

/** The rows in that order; what is not known comes last either way. */
export function sortRows<Row>(rows: readonly Row[], columns: readonly Column<Row>[], sort: Sort | undefined): readonly Row[] {
  const by = columns.find((column) => column.id === sort?.by)?.by;
  if (!by || !sort) return rows;
  const turn = sort.down ? -1 : 1;
  return rows.toSorted((a, b) => {
    const [left, right] = [by(a), by(b)];
    if (left === right) return 0;
    if (left === null || left === undefined) return 1;
    if (right === null || right === undefined) return -1;
    return turn * (typeof left === 'string' || typeof right === 'string' ? String(left).localeCompare(String(right)) : left - right);
  });
}

export type Line<Row> = { kind: 'row'; row: Row; at: number } | { kind: 'group'; title: string; size: number };

/** The lines to draw: the rows, and a title wherever the group changes. */
export function toLines<Row>(rows: readonly Row[], group: ((row: Row) => string) | undefined): Line<Row>[] {
  const lines: Line<Row>[] = [];
  let last: (Line<Row> & { kind: 'group' }) | undefined;
  rows.forEach((row, at) => {
    const title = group?.(row);
    if (title !== undefined && title !== last?.title) {
      last = { kind: 'group', title, size: 0 };
      lines.push(last);
    }
    if (last) last.size += 1;
    lines.push({ kind: 'row', row, at });
  });
  return lines;
}
