import { useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { seriesColour, seriesDash } from '../colours';
import { exact, inUnit, moment, type Unit } from '../format';
import { ChartFrame } from './ChartFrame';
import { ChartTable } from './ChartTable';
import { type Mark, Marks } from './ChartMarks';
import { type ChartColours, makeOptions } from './chart-options';

export type { Mark } from './ChartMarks';

export interface Series {
  label: string;
  /** One for each time; null where nothing is known. */
  values: readonly (number | null)[];
  /** Which colour and dash; by default its place among the series. Keep it for what is the same thing elsewhere. */
  style?: number;
  /** Fills what is below the line. */
  area?: boolean;
}

export interface ChartProps {
  title: string;
  unit: Unit;
  /** In milliseconds since 1970, in order. */
  times: readonly number[];
  series: readonly Series[];
  /** What happened when, on the axis of time. */
  marks?: readonly Mark[];
  height?: number;
  /** Charts with the same key show their cursors at the same time. */
  cursor?: string;
  /** Called with what was selected by dragging. */
  onSelect?: (from: number, to: number) => void;
  /** The range of the axis of time, if it is more than the times. */
  from?: number;
  to?: number;
}

/** Lines over time, with a table behind them. */
export function Chart(props: ChartProps) {
  const { title, unit, times, series, marks = [], height = 160 } = props;
  const [at, setAt] = useState<number | null>(null);
  const time = at === null ? undefined : times[at];
  return (
    <ChartFrame
      title={title} about={time !== undefined && <time className="dim num" title={exact(time)}>{moment(time, Date.now())}</time>}
      table={() => <ChartTable title={title} unit={unit} times={times} series={series} height={height + 22} />}
    >
      <Plot {...props} marks={marks} height={height} at={at} setAt={setAt} />
    </ChartFrame>
  );
}

/** The colours of the page's theme, which a canvas cannot inherit. */
function readColours(element: HTMLElement, isDark: boolean): ChartColours {
  const style = getComputedStyle(element);
  return { text: style.getPropertyValue('--dim').trim(), grid: style.getPropertyValue('--line').trim(), isDark };
}

interface PlotProps extends ChartProps {
  marks: readonly Mark[];
  height: number;
  /** Which of the times the cursor is at. */
  at: number | null;
  setAt: (at: number | null) => void;
}

function Plot({ title, unit, times, series, marks, height, cursor, onSelect, from, to, at, setAt }: PlotProps) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const isDark = useComputedColorScheme('light') === 'dark';
  const [area, setArea] = useState({ left: 0, width: 0, min: 0, max: 1 });
  const select = useRef(onSelect);
  const range = useRef({ from, to });
  useEffect(() => {
    select.current = onSelect;
    range.current = { from, to };
  });

  const data = useMemo<uPlot.AlignedData>(
    () => [times.map((time) => time / 1000), ...series.map((one) => one.values as (number | null)[])],
    [times, series],
  );
  // The plot is made anew only if its shape changes; values alone are set, and with them the range that moves on.
  const shape = JSON.stringify([series.map(({ label, style, area: filled }) => [label, style, filled]), marks.map((mark) => mark.at), unit, cursor, isDark, onSelect !== undefined]);
  const made = width > 0;

  useEffect(() => {
    const element = host.current;
    if (!element || !made) return;
    const options = makeOptions({
      series, unit, height, cursor, width: element.clientWidth,
      range: () => range.current,
      colours: readColours(element, isDark),
      markTimes: marks.map((mark) => mark.at),
      onCursor: setAt,
      onSelect: onSelect && ((start, end) => select.current?.(start, end)),
      onLayout: (left, inner, min, max) => setArea((old) => (old.left === left && old.width === inner && old.min === min && old.max === max ? old : { left, width: inner, min, max })),
    });
    const created = new uPlot(options, data, element);
    plot.current = created;
    return () => {
      plot.current = null;
      created.destroy();
    };
  }, [shape, made]);

  useEffect(() => plot.current?.setData(data), [data, from, to]);
  useEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height });
  }, [width, height]);

  return (
    <div ref={ref}>
      <Legend series={series} unit={unit} at={at} isDark={isDark} />
      <div className="chart-plot" style={{ height }}>
        <div ref={host} aria-hidden="true" />
        <Marks marks={marks} {...area} />
        {series.every((one) => one.values.every((value) => value === null)) && <div className="chart-none">No values in this range</div>}
      </div>
      {/* A canvas says nothing to a screen reader; this does, and the button above shows all values. */}
      <p className="outside">{summary(title, series, unit)}</p>
    </div>
  );
}

function Legend({ series, unit, at, isDark }: { series: readonly Series[]; unit: Unit; at: number | null; isDark: boolean }) {
  return (
    <div className="chart-legend">
      {series.map((one, index) => (
        <span key={one.label} className="chart-key">
          <svg width={22} height={8} aria-hidden="true">
            <line x1={1} x2={21} y1={4} y2={4} strokeWidth={2} stroke={seriesColour(one.style ?? index, isDark)} strokeDasharray={seriesDash(one.style ?? index).join(' ')} />
          </svg>
          {one.label} <b className="num">{inUnit(at === null ? one.values.findLast((value) => value !== null) : one.values[at], unit)}</b>
        </span>
      ))}
    </div>
  );
}

function summary(title: string, series: readonly Series[], unit: Unit): string {
  const parts = series.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${label}: no values`;
    return `${label}: last ${inUnit(known.at(-1), unit)}, from ${inUnit(Math.min(...known), unit)} to ${inUnit(Math.max(...known), unit)}`;
  });
  return `${title}. ${parts.join('; ')}.`;
}
