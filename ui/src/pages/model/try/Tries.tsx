import { ms } from '../../../format';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import type { Told } from './send';

export interface Try {
  told: Told;
  texts: Readonly<Record<string, string>>;
}

/** What was tried since the page was opened; a click brings back its row and its answer. */
export function Tries({ all, onOpen }: { all: readonly Try[]; onOpen: (one: Try) => void }) {
  if (all.length < 2) return null;
  return (
    <section className="try-tries" aria-label="Tries before">
      <h2>Tries</h2>
      <ol>
        {all.map((one) => (
          <li key={one.told.at}>
            <button type="button" onClick={() => onOpen(one)}>
              <State plain tone={one.told.problem ? 'bad' : 'good'}>{one.told.status || 'none'}</State>
              <span className="num">{ms(one.told.tookMs)}</span>
              <span className="cut">{one.told.problem ? one.told.problem.message : one.told.raw.slice(0, 160)}</span>
              <span className="dim"><Time at={one.told.at} as="moment" /></span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
