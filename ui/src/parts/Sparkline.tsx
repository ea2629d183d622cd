import { memo } from 'react';

/** A small line without axes. What it shows is in `label`, for whoever cannot see it. What is not known is left out. */
export const Sparkline = memo(function Sparkline({ values, label, width = 96, height = 20 }: {
  values: readonly (number | null)[];
  label: string;
  width?: number;
  height?: number;
}) {
  const most = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = width / Math.max(1, values.length - 1);
  const points = values.flatMap((value, index) =>
    value === null ? [] : [{ x: (index * step).toFixed(1), y: (height - 1 - (value / most) * (height - 3)).toFixed(1) }]);
  const [first] = points;
  if (first === undefined || points.length < 2) return null;
  const line = `M${points.map(({ x, y }) => `${x} ${y}`).join('L')}`;
  return (
    <svg className="sparkline" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      <title>{label}</title>
      <path className="sparkline-area" d={`${line}L${width} ${height}L${first.x} ${height}Z`} />
      <path className="sparkline-line" d={line} />
    </svg>
  );
});
