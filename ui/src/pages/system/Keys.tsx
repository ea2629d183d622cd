import { countOf } from '../../format';
import { Command } from '../../parts/Command';
import { Empty, Failed, Prose } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { State } from '../../parts/State';
import { useKeys } from './api';

/** The keys that wrap secrets, and how far a rotation of them is. */
export function Keys() {
  const { data, error, refetch } = useKeys();
  return (
    <section>
      <div className="system-head"><h2>Keys</h2></div>
      {error && !data ? <Failed problem={error} onRetry={() => void refetch()} /> : !data ? <Skeletons lines={3} /> : (
        <>
          {data.keys.length === 0 && <Empty title="There is no secret, and so no key yet" command="decalog env set API_KEY --secret" />}
          {data.lost > 0 && <p><State tone="bad">{countOf(data.lost, 'secret')} cannot be read: no key here wraps {data.lost === 1 ? 'it' : 'them'}</State></p>}
          <ul className="system-list">
            {data.keys.map((key) => (
              <li key={`${key.provider} ${key.id}`}>
                <code>{key.id}</code>
                <span className="dim">{key.provider === 'file' ? 'in the data directory' : key.provider}</span>
                <span className="num">{countOf(key.secrets, 'secret')}</span>
                {key.current && <State plain tone="good">wraps new ones</State>}
              </li>
            ))}
          </ul>
          {data.rotation && <Rotation of={data.rotation} />}
          {data.keys.length > 0 && <Command>decalog key rotate</Command>}
        </>
      )}
    </section>
  );
}

function Rotation({ of }: { of: NonNullable<ReturnType<typeof useKeys>['data']>['rotation'] & {} }) {
  const problem = of.problem as { error: string } | null;
  if (of.running) return <p><State tone="busy">{`rotating: ${of.done} of ${countOf(of.total, 'file')}`}</State></p>;
  return (
    <p>
      {problem ? <><State tone="bad">the last rotation ended early</State> <Prose text={problem.error} /></> : <State tone="good">{`rotated: ${of.done} of ${countOf(of.total, 'file')}`}</State>}
      {of.unreadable.length > 0 && <> {countOf(of.unreadable.length, 'file')} that no key opens stayed as they were.</>}
    </p>
  );
}
