import uPlot from 'uplot';
import { seriesColour, seriesDash } from '../colours';
import type { Unit } from '../format';
import type { Series } from './Chart';
import { timeLabels, valueLabels } from './chart-axis';

export interface ChartColours {
  text: string;
  grid: string;
  isDark: boolean;
}

interface Wishes {
  series: readonly Series[];
  unit: Unit;
  width: number;
  height: number;
  /** The range of the axis of time, in milliseconds; it is asked for anew with all values. */
  range: () => { from: number | undefined; to: number | undefined };
  cursor: string | undefined;
  colours: ChartColours;
  markTimes: readonly number[];
  onCursor: (at: number | null) => void;
  onSelect: ((from: number, to: number) => void) | undefined;
  /** Where the plot lies in the chart, in pixels, and which times it shows, in milliseconds. */
  onLayout: (left: number, width: number, min: number, max: number) => void;
}

const FONT = '11px system-ui, sans-serif';

/** What uPlot is told. */
export function makeOptions({ series, unit, width, height, range, cursor, colours, markTimes, onCursor, onSelect, onLayout }: Wishes): uPlot.Options {
  let isDragged = false;
  const axis = { stroke: colours.text, font: FONT, grid: { stroke: colours.grid, width: 1 }, ticks: { show: false } };
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: onSelect !== undefined, y: false, setScale: false },
      ...(cursor === undefined ? {} : { sync: { key: cursor, setSeries: false } }),
    },
    scales: {
      x: {
        time: true,
        range: (_, min, max) => {
          const { from, to } = range();
          return timeRange(from === undefined ? min : from / 1000, to === undefined ? max : to / 1000);
        },
      },
      y: { range: (_, min, max) => valueRange(min, max) },
    },
    axes: [
      { ...axis, size: 26, space: 70, values: (_, splits) => timeLabels(splits) },
      { ...axis, size: 62, space: 34, values: (_, splits) => valueLabels(splits, unit) },
    ],
    series: [
      {},
      ...series.map((one, index) => {
        const colour = seriesColour(one.style ?? index, colours.isDark);
        return {
          label: one.label,
          stroke: colour,
          width: 1.5,
          dash: [...seriesDash(one.style ?? index)],
          spanGaps: false,
          points: { show: one.values.filter((value) => value !== null).length < 3 },
          ...(one.area ? { fill: `${colour}22` } : {}),
        };
      }),
    ],
    hooks: {
      // Others that share its cursor show the selection as well, but it is made in one.
      ready: [(plot) => plot.over.addEventListener('mousedown', () => { isDragged = true; })],
      setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          const { left, width: chosen } = plot.select;
          const isOwn = isDragged;
          isDragged = false;
          if (chosen < 4) return;
          if (isOwn) onSelect?.(Math.round(plot.posToVal(left, 'x') * 1000), Math.round(plot.posToVal(left + chosen, 'x') * 1000));
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      draw: [
        (plot) => {
          drawMarks(plot, markTimes, colours.text);
          const { left, width: inner } = plot.over.getBoundingClientRect();
          onLayout(left - plot.root.getBoundingClientRect().left, inner, (plot.scales.x?.min ?? 0) * 1000, (plot.scales.x?.max ?? 1) * 1000);
        },
      ],
    },
  };
}

/** A single point still has an axis, and none has the last hour. */
function timeRange(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [Date.now() / 1000 - 3600, Date.now() / 1000];
  return min < max ? [min, max] : [min - 60, min + 60];
}

/** From zero, so that twice as high is twice as much; a little room above. */
function valueRange(min: number | null, max: number | null): [number, number] {
  const low = Math.min(0, min ?? 0);
  const high = Math.max(0, max ?? 0);
  return high === low ? [low, low + 1] : [low * 1.08, high * 1.08];
}

function drawMarks(plot: uPlot, times: readonly number[], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const time of times) {
    const x = Math.round(plot.valToPos(time / 1000, 'x', true)) + 0.5;
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
