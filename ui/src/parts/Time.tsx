import { exact, moment, NOTHING, relative } from '../format';
import { useNow } from './now';

/** A time in the reader's zone, exact on hover. `relative` says how long ago, `moment` the time of day. */
export function Time({ at, as = 'relative' }: { at: number | null | undefined; as?: 'relative' | 'moment' }) {
  const recent = at !== null && at !== undefined && Math.abs(Date.now() - at) < 120_000;
  const now = useNow(recent ? 1_000 : 15_000);
  if (at === null || at === undefined) return <span>{NOTHING}</span>;
  // The step of the clock may lie before what has just happened.
  const shown = as === 'relative' ? relative(at, at > now && at - now < 15_000 ? at : now) : moment(at, now);
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)} className="nowrap">
      {shown}
    </time>
  );
}
