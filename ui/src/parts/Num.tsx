import { inUnit, type Unit } from '../format';

/** A number with its unit, in digits of equal width; the whole number on hover. */
export function Num({ value, unit = 'plain', dim }: { value: number | null | undefined; unit?: Unit; dim?: boolean }) {
  const exact = typeof value === 'number' && !Number.isInteger(value) ? String(value) : undefined;
  return (
    <span className={dim ? 'num dim' : 'num'} title={exact}>
      {inUnit(value, unit)}
    </span>
  );
}
