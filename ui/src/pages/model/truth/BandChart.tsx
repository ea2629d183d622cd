import { useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { type PointerEvent, useMemo, useState } from 'react';
import { seriesColour, seriesDash } from '../../../colours';
import { clock, count, day, exact, inUnit, moment, NOTHING, type Unit } from '../../../format';
import { ChartFrame } from '../../../parts/ChartFrame';
import { BandTable } from './BandTable';
import { extent, pieces, type Point, ticks, timeTicks } from './scale';
import './band.css';

export interface BandSeries {
  label: string;
  points: readonly Point[];
  /** What the interval is, such as `95% interval`. */
  band?: string;
  /** Which colour and dash. */
  style?: number;
  /** Nobody knows it yet: a hollow mark and a dashed line, whatever the style. */
  estimated?: boolean;
}

interface Props {
  title: string;
  series: readonly BandSeries[];
  unit?: Unit;
  from: number;
  to: number;
  height?: number;
}

const LEFT = 52;
const RIGHT = 12;
const BOTTOM = 22;
/** Of a time at the axis, in pixels: one that would be cut off at the edge is left out. */
const LABEL_WIDTH = 36;
/** With more points than this the interval is an area, with fewer each has its own. */
const AREA_FROM = 32;

/** Values over time with an interval around each. */
export function BandChart(props: Props) {
  const { title, series, unit = 'plain' } = props;
  return <ChartFrame title={title} table={() => <BandTable title={title} series={series} unit={unit} />}><Plot {...props} /></ChartFrame>;
}

function Plot({ series, unit = 'plain', from, to, height = 190 }: Props) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const isDark = useComputedColorScheme('light') === 'dark';
  const [at, setAt] = useState<number | null>(null);
  const all = useMemo(() => series.flatMap((one) => one.points), [series]);
  const [low, high] = useMemo(() => extent(all), [all]);
  const inner = Math.max(1, width - LEFT - RIGHT);
  const x = (time: number) => LEFT + ((time - from) / (to - from)) * inner;
  const y = (value: number) => 6 + (1 - (value - low) / (high - low)) * (height - BOTTOM - 6);

  // What is of the same time stands side by side.
  const apart = all.length > AREA_FROM ? 0 : 13;

  const move = (event: PointerEvent<SVGSVGElement>) => {
    const pointer = from + ((event.clientX - event.currentTarget.getBoundingClientRect().left - LEFT) / inner) * (to - from);
    const near = all.toSorted((one, other) => Math.abs(one.at - pointer) - Math.abs(other.at - pointer))[0];
    setAt(near?.at ?? null);
  };

  return (
    <div ref={ref}>
      <div className="chart-legend">
        {series.map((one, index) => <Key key={one.label} series={one} index={index} unit={unit} at={at} isDark={isDark} />)}
        {at !== null && <time className="num band-time" title={exact(at)}>{moment(at, Date.now())}</time>}
      </div>
      <svg className="band-plot" width={width} height={height} onPointerMove={move} onPointerLeave={() => setAt(null)} aria-hidden="true">
        {ticks(low, high, 4).map((value) => (
          <g key={value}>
            <line className="band-grid" x1={LEFT} x2={LEFT + inner} y1={y(value)} y2={y(value)} />
            <text className="band-tick" x={LEFT - 8} y={y(value) + 4} textAnchor="end">{inUnit(value, unit)}</text>
          </g>
        ))}
        {timeTicks(from, to, inner / 110).filter((time) => x(time) <= width - LABEL_WIDTH / 2).map((time) => (
          <text key={time} className="band-tick" x={x(time)} y={height - 5} textAnchor="middle">{label(time)}</text>
        ))}
        {at !== null && <line className="band-cursor" x1={x(at)} x2={x(at)} y1={0} y2={height - BOTTOM} />}
        {width > 0 && series.map((one, index) => (
          <Drawn key={one.label} series={one} x={(time) => x(time) + (index - (series.length - 1) / 2) * apart} y={y} colour={seriesColour(one.style ?? index, isDark)} dash={one.estimated ? '4 4' : seriesDash(one.style ?? index).join(' ')} />
        ))}
      </svg>
    </div>
  );
}

function label(time: number): string {
  const of = clock(time);
  return of === '00:00:00' ? day(time).slice(5) : of.slice(0, 5);
}

function Key({ series, index, unit, at, isDark }: { series: BandSeries; index: number; unit: Unit; at: number | null; isDark: boolean }) {
  const colour = seriesColour(series.style ?? index, isDark);
  const point = at === null ? series.points.findLast((one) => one.value !== null) : series.points.find((one) => one.at === at);
  return (
    <span className="chart-key">
      <svg width={22} height={10} aria-hidden="true">
        <rect x={0} y={0} width={22} height={10} fill={colour} fillOpacity={0.16} />
        <line x1={1} x2={21} y1={5} y2={5} strokeWidth={2} stroke={colour} strokeDasharray={series.estimated ? '4 4' : seriesDash(series.style ?? index).join(' ')} />
      </svg>
      {series.label}{series.band && <span>({series.band})</span>}{' '}
      <b className="num">
        {series.estimated && point ? '~' : ''}{inUnit(point?.value, unit)}
        {point?.low !== null && point?.low !== undefined && ` [${inUnit(point.low, unit)}, ${inUnit(point.high, unit)}]`}
      </b>
      {point ? <span className="num">n = {count(point.n)}</span> : NOTHING}
    </span>
  );
}

interface DrawnProps {
  series: BandSeries;
  x: (time: number) => number;
  y: (value: number) => number;
  colour: string;
  dash: string;
}

function Drawn({ series, x, y, colour, dash }: DrawnProps) {
  const asArea = series.points.length > AREA_FROM;
  const place = (time: number, value: number) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`;
  return (
    <g stroke={colour} fill="none">
      {pieces(series.points).map((piece) => (
        <g key={piece[0]?.at}>
          {asArea && <Area piece={piece} place={place} colour={colour} />}
          <polyline points={piece.map((one) => place(one.at, one.value ?? 0)).join(' ')} strokeWidth={1.75} strokeDasharray={dash} strokeLinejoin="round" />
          {!asArea && piece.map((one) => <Marker key={one.at} point={one} x={x} y={y} isHollow={series.estimated ?? false} colour={colour} />)}
        </g>
      ))}
    </g>
  );
}

function Area({ piece, place, colour }: { piece: readonly Point[]; place: (time: number, value: number) => string; colour: string }) {
  const known = piece.filter((one) => one.low !== null && one.high !== null);
  const outline = [...known.map((one) => place(one.at, one.high ?? 0)), ...known.toReversed().map((one) => place(one.at, one.low ?? 0))];
  return <polygon points={outline.join(' ')} fill={colour} fillOpacity={0.16} stroke="none" />;
}

function Marker({ point, x, y, isHollow, colour }: { point: Point; x: DrawnProps['x']; y: DrawnProps['y']; isHollow: boolean; colour: string }) {
  const [left, top] = [x(point.at), y(point.value ?? 0)];
  return (
    <>
      {point.low !== null && point.high !== null && (
        <rect x={left - 5} width={10} y={y(point.high)} height={Math.max(1, y(point.low) - y(point.high))} fill={colour} fillOpacity={0.2} stroke="none" />
      )}
      {isHollow ? (
        <path className="band-hollow" d={`M${left} ${top - 5}l5 5l-5 5l-5 -5z`} strokeWidth={1.75} />
      ) : (
        <circle cx={left} cy={top} r={3.5} fill={colour} stroke="none" />
      )}
    </>
  );
}
