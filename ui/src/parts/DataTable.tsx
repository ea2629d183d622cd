import { Skeleton, Tooltip } from '@mantine/core';
import { useElementSize, useMergedRef } from '@mantine/hooks';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type CSSProperties, type KeyboardEvent, type MouseEvent, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import { Icon } from './Icon';
import { type Column, type Line, nextSort, type Sort, toLines } from './table';

export { type Column, parseSort, type Sort, sortRows, sortText } from './table';

interface Props<Row> {
  /** What the table holds, for whoever cannot see it. */
  label: string;
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  rowKey: (row: Row) => string;
  /** Opens a row: by a click beside its links, or by Enter. */
  onOpen?: (row: Row) => void;
  sort?: Sort | undefined;
  onSort?: (sort: Sort) => void;
  /** The title under which a row stands. The rows have to be in order of it. */
  group?: ((row: Row) => string) | undefined;
  /** Called when the last rows come near, to load more. */
  onEnd?: (() => void) | undefined;
  /** How many rows there are in all, if more than are here. */
  total?: number | undefined;
  loading?: boolean;
  /** What stands there without rows: an `Empty`. */
  empty?: ReactNode;
  /** It takes the height that the page has left; else as much as it needs, up to `maxHeight`. */
  fill?: boolean;
  maxHeight?: number;
  selected?: string | undefined;
  /** Marks rows whose state is not good; a word in the row has to say so, too. */
  tone?: (row: Row) => 'bad' | 'warning' | 'busy' | undefined;
}

const ROW = 32;
const NEAR_END = 30;

/** A table for ten rows or ten thousand: only those in sight are drawn. Arrows, Home, End and Enter work in it. */
export function DataTable<Row>(props: Props<Row>) {
  const { rows, columns: all, rowKey, onOpen, group, onEnd, loading, fill, maxHeight = 480 } = props;
  const { ref: sizeRef, width } = useElementSize<HTMLDivElement>();
  const scroller = useRef<HTMLDivElement>(null);
  const ref = useMergedRef(scroller, sizeRef);
  const columns = useMemo(() => (width === 0 ? all : all.filter((column) => (column.from ?? 0) <= width)), [all, width]);
  const lines = useMemo(() => toLines(rows, group), [rows, group]);
  const virtual = useVirtualizer({ count: lines.length, getScrollElement: () => scroller.current, estimateSize: () => ROW, overscan: 12 });
  const drawn = virtual.getVirtualItems();
  const keyboard = useRowKeys(lines, scroller, virtual.scrollToIndex, onOpen);

  const last = drawn.at(-1)?.index ?? 0;
  useEffect(() => {
    if (lines.length > 0 && last >= lines.length - NEAR_END) onEnd?.();
  }, [last, lines.length, onEnd]);

  const layout: CSSProperties = {
    gridTemplateColumns: columns.map((column) => (column.grow ? `minmax(${column.width}px, ${column.grow}fr)` : `${column.width}px`)).join(' '),
    minWidth: columns.reduce((sum, column) => sum + column.width, 0),
  };
  const isEmpty = rows.length === 0;
  const mayGrow = (props.total ?? 0) > rows.length;
  const lastGroup = lines.findLastIndex((line) => line.kind === 'group');

  return (
    <div ref={ref} className={fill ? 'table table-fill' : 'table'} style={fill ? undefined : { maxHeight }} tabIndex={onOpen && !isEmpty ? -1 : 0} onKeyDown={keyboard.onKeyDown}
      role={isEmpty && !loading ? 'region' : 'grid'} aria-label={props.label} aria-rowcount={isEmpty ? undefined : (props.total ?? rows.length) + 1} aria-busy={loading}>
      {!(isEmpty && !loading) && <Head columns={columns} layout={layout} sort={props.sort} onSort={props.onSort} />}
      {isEmpty && loading && <Loading span={columns.length} />}
      {isEmpty && !loading && props.empty}
      <div className="table-body" role={isEmpty ? undefined : 'rowgroup'} style={{ height: virtual.getTotalSize(), minWidth: layout.minWidth }}>
        {drawn.map(({ index, start }) => {
          const line = lines[index];
          if (!line) return null;
          const place = { ...layout, transform: `translateY(${start}px)` };
          if (line.kind === 'group') return (
            <GroupLine key={`group ${line.title}`} line={line} isWhole={!mayGrow || index < lastGroup} span={columns.length} style={place} />
          );
          const key = rowKey(line.row);
          return (
            <div key={key} role="row" aria-rowindex={line.at + 2} aria-selected={props.selected === undefined ? undefined : props.selected === key}
              data-index={index} data-opens={onOpen ? true : undefined} data-tone={props.tone?.(line.row)} className="table-row" style={place}
              tabIndex={onOpen && keyboard.active === index ? 0 : -1} onFocus={() => keyboard.setActive(index)}
              onClick={onOpen && ((event) => { if (!isInteractive(event)) onOpen(line.row); })}>
              {columns.map((column) => (
                <div key={column.id} role="gridcell" className="table-cell" data-align={column.align}>{column.cell(line.row)}</div>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Head<Row>({ columns, layout, sort, onSort }: {
  columns: readonly Column<Row>[];
  layout: CSSProperties;
  sort: Sort | undefined;
  onSort: ((sort: Sort) => void) | undefined;
}) {
  return (
    <div role="rowgroup" className="table-head">
      <div role="row" aria-rowindex={1} className="table-head-row" style={layout}>
        {columns.map((column) => {
          const sorted = sort?.by === column.id ? (sort.down ? 'descending' : 'ascending') : undefined;
          const title = column.hint ? <Tooltip label={column.hint}><span>{column.title}</span></Tooltip> : column.title;
          return (
            <div key={column.id} role="columnheader" aria-sort={sorted} className="table-cell" data-align={column.align}>
              {column.sorts && onSort ? (
                <button type="button" className="table-sort" onClick={() => onSort(nextSort(column, sort))}>
                  {title}
                  {sorted && <Icon name={sorted === 'descending' ? 'down' : 'up'} size={12} />}
                </button>
              ) : title}
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** How many rows a group has is not known before all of them are here. */
function GroupLine<Row>({ line, isWhole, span, style }: { line: Line<Row> & { kind: 'group' }; isWhole: boolean; span: number; style: CSSProperties }) {
  return (
    <div role="row" className="table-group" style={{ ...style, gridTemplateColumns: '1fr' }}>
      <div role="gridcell" aria-colspan={span}>{line.title} {isWhole && <span className="dim">{line.size}</span>}</div>
    </div>
  );
}

/** One row over the whole width: a grid holds nothing but rows. */
function Loading({ span }: { span: number }) {
  return (
    <div role="rowgroup" className="table-loading">
      <div role="row">
        <div role="gridcell" aria-colspan={span} aria-label="Loading">
          {Array.from({ length: 8 }, (_, index) => <Skeleton key={index} height={14} my={9} />)}
        </div>
      </div>
    </div>
  );
}

function isInteractive(event: MouseEvent): boolean {
  return event.target instanceof Element && event.target.closest('a, button, input, [role="button"]') !== null;
}

/** The row that the keyboard is at: one of them can be reached by Tab, the arrows go on from there. */
function useRowKeys<Row>(
  lines: readonly Line<Row>[],
  scroller: { current: HTMLDivElement | null },
  scrollToIndex: (index: number) => void,
  onOpen: ((row: Row) => void) | undefined,
) {
  const [wanted, setActive] = useState(0);
  const [moves, setMoves] = useState(0);
  const firstRow = lines[0]?.kind === 'group' ? 1 : 0;
  const active = Math.max(firstRow, Math.min(wanted, lines.length - 1));

  useEffect(() => {
    if (moves === 0) return;
    const frame = requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-index="${active}"]`)?.focus({ preventScroll: true }));
    return () => cancelAnimationFrame(frame);
  }, [moves, active, scroller]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (!onOpen || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 320) / ROW) - 2);
    const steps: Readonly<Record<string, number>> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -lines.length, End: lines.length };
    const step = steps[event.key];
    const onRow = event.target instanceof HTMLElement && event.target.dataset.index !== undefined;
    if (event.key === 'Enter' && onRow) {
      const line = lines[active];
      if (line?.kind === 'row') onOpen(line.row);
    } else if (step !== undefined && lines.length > 0) {
      event.preventDefault();
      const next = Math.max(firstRow, Math.min(lines.length - 1, active + step));
      const to = lines[next]?.kind === 'group' ? next + Math.sign(step) : next;
      scrollToIndex(to);
      setActive(to);
      setMoves((count) => count + 1);
    }
  };
  return { active, setActive, onKeyDown };
}
