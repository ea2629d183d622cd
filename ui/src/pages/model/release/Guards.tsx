import { Tooltip } from '@mantine/core';
import { State } from '../../../parts/State';
import type { Tone } from '../../../parts/State';
import { onAxis, type Said, takeApart, type Verdict } from './said';

const TONES: Record<Verdict, Tone> = { advance: 'good', hold: 'busy', 'roll back': 'bad' };
const WORDS: Record<Verdict, string> = { advance: 'kept', hold: 'not yet sure', 'roll back': 'broken' };

/** What each guard says now: what was measured, how sure that is, and the limit. */
export function Guards({ said, guards }: { said: string; guards: readonly string[] }) {
  const { guards: lines } = takeApart(said, guards);
  if (lines.length === 0) return null;
  return (
    <div className="guards-scroll" tabIndex={0} role="region" aria-label="Guards">
      <table className="guards">
        <thead>
          <tr>
            <th scope="col">Guard</th>
            <th scope="col">Verdict</th>
            <th scope="col">Now</th>
            <th scope="col" className="guards-wide">Interval and limit</th>
            <th scope="col" className="guards-number">Requests</th>
          </tr>
        </thead>
        <tbody>{lines.map((line) => <Guard key={line.line} said={line} />)}</tbody>
      </table>
    </div>
  );
}

function Guard({ said }: { said: Said }) {
  const isKnown = said.verdict !== null && (said.limit !== null || said.why !== null);
  if (!isKnown) return <tr><td colSpan={5}>{said.line}</td></tr>;
  return (
    <>
      <tr>
        <th scope="row"><code>{said.guard}</code></th>
        <td>{said.verdict && <State tone={TONES[said.verdict]} plain={said.verdict !== 'roll back'}>{WORDS[said.verdict]}</State>}</td>
        <td className="num">
          {said.canary ?? '–'}
          {said.baseline && <span className="dim"> against {said.baseline}</span>}
        </td>
        <td className="guards-wide">{said.limit ? <Interval said={said} /> : <span className="dim">–</span>}</td>
        <td className="num guards-number">{said.n?.replace(/\d+/g, (digits) => Number(digits).toLocaleString('en')) ?? '–'}</td>
      </tr>
      {said.why && <tr className="guards-why"><td colSpan={5} className="dim small"><span>{said.why}</span></td></tr>}
    </>
  );
}

function Interval({ said }: { said: Said }) {
  const places = onAxis(said);
  const words = `${said.estimate ?? said.canary}, between ${said.low} and ${said.high}; at most ${said.limit}`;
  const percent = (share: number) => `${(share * 100).toFixed(1)}%`;
  return (
    <Tooltip label={words}>
      <span className="interval" tabIndex={0} role="img" aria-label={words}>
        {places && (
          <span className="interval-axis">
            <span className="interval-band" style={{ left: percent(places.low), width: percent(Math.max(0.01, places.high - places.low)) }} />
            <span className="interval-at" style={{ left: percent(places.at) }} />
            <span className="interval-limit" style={{ left: percent(places.limit) }} />
          </span>
        )}
        <span className="num small nowrap"><span className="dim">[{said.low}, {said.high}]</span> ≤ {said.limit}</span>
      </span>
    </Tooltip>
  );
}
