import { span } from '../../../format';
import { Icon } from '../../../parts/Icon';
import { useNow } from '../../../parts/now';
import type { Release } from './api';

interface Phase {
  label: string;
  word: string;
}

/** What the new version gets one after the other; the last is everything. */
export function phasesOf({ plan }: Release): Phase[] {
  return [
    ...(plan.shadow ? [{ label: `${plan.shadow}%`, word: 'copies' }] : []),
    ...(plan.canary ?? []).filter((percent) => percent < 100).map((percent) => ({ label: `${percent}%`, word: 'of the traffic' })),
    { label: '100%', word: 'live' },
  ];
}

/** The phases of a release as steps: what is behind it, where it is, what comes. */
export function Steps({ release }: { release: Release }) {
  const { progress, plan, outcome } = release;
  const now = useNow();
  const phases = phasesOf(release);
  const at = outcome === 'live' ? phases.length : (progress?.step ?? -1);
  const every = plan.every_ms ?? 120_000;
  return (
    <ol className="steps">
      {[{ label: 'Prepared', word: 'built, started, tested' }, ...phases].map((phase, index) => {
        const place = index - 1;
        const state = place < at ? 'done' : place === at ? 'now' : 'next';
        const since = state === 'now' && progress ? now - progress.since_ms : null;
        return (
          <li key={phase.label + phase.word} data-state={state} aria-current={state === 'now' ? 'step' : undefined}>
            <span className="step-mark" aria-hidden="true">{state === 'done' ? <Icon name="check" size={11} /> : null}</span>
            <span className="step-label">{phase.label} <span className="dim">{phase.word}</span></span>
            <span className="dim small num">
              {since !== null ? `for ${span(Math.max(0, since))}${place < phases.length - 1 ? `, at least ${span(every)}` : ''}` : state === 'done' ? 'done' : state === 'now' ? 'now' : ''}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

/** Which version gets how much: a bar with words. */
export function Split({ release }: { release: Release }) {
  const { progress, version, plan } = release;
  if (!progress) return null;
  const { phase, baseline } = progress;
  const share = phase.shadow ? 0 : phase.percent;
  return (
    <div className="split">
      <div className="split-words">
        <span><span className="split-swatch split-old" aria-hidden="true" /><b>v{baseline}</b> <span className="num">{100 - share}%</span> <span className="dim">of the traffic</span></span>
        <span>
          <span className="split-swatch split-new" aria-hidden="true" /><b>{version}</b> <span className="num">{phase.percent}%</span>{' '}
          <span className="dim">{phase.shadow ? 'as copies, answers dropped' : plan.sticky ? `of the callers, by ${plan.sticky}` : 'at random'}</span>
        </span>
      </div>
      <div className="split-bar" aria-hidden="true">
        <span className="split-old" style={{ width: `${100 - (phase.shadow ? 0 : phase.percent)}%` }} />
        {!phase.shadow && <span className="split-new" style={{ width: `${phase.percent}%` }} />}
      </div>
      {phase.shadow && <div className="split-bar split-copies" aria-hidden="true"><span className="split-new" style={{ width: `${phase.percent}%` }} /></div>}
    </div>
  );
}
