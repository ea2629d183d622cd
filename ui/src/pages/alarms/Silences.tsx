import { useState } from 'react';
import { ActionButton } from '../../parts/ActionButton';
import { Confirm } from '../../parts/Confirm';
import { Failed } from '../../parts/Notices';
import { Time } from '../../parts/Time';
import { endSilences, type Silence, useAlarms, useSilences } from './api';
import { silenced } from './words';

/** Silences that are in force. */
export function Silences() {
  const { data, error, refetch } = useSilences();
  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!data || data.silences.length === 0) return null;
  return (
    <section className="alarm-section">
      <h2>Silences <span className="dim num">{data.silences.length}</span></h2>
      <ul className="lines">
        {data.silences.map((one, at) => <Line key={`${silenced(one)} ${one.until_ms} ${at}`} of={one} />)}
      </ul>
    </section>
  );
}

function Line({ of }: { of: Silence }) {
  const [isAsking, setAsking] = useState(false);
  const { data: alarms } = useAlarms();
  const meant = of.alarm ? alarms?.open.find((alarm) => alarm.id.startsWith(of.alarm ?? '')) : undefined;
  const model = of.model ?? meant?.model;
  const object = model ? (of.environment ? `${model}@${of.environment}` : model) : '*';
  const target = of.alarm ? { alarm: of.alarm } : of.model ? { model: of.model } : undefined;
  return (
    <li>
      <div className="line-text">
        <div>{meant ? meant.what : silenced(of)}</div>
        <p className="facts">
          {meant && <span>{meant.model ?? 'The platform'}</span>}
          <span>by {of.by}</span>
          <span>ends <Time at={of.until_ms} /></span>
          {of.reason && <span>{of.reason}</span>}
        </p>
      </div>
      {target && <ActionButton action={model ? 'steer' : 'administer'} object={object} variant="default" onAct={() => setAsking(true)}>End now</ActionButton>}
      {target && (
        <Confirm
          opened={isAsking} onClose={() => setAsking(false)} verb="End it" command={`decalog unsilence ${of.alarm?.slice(0, 6) ?? of.model ?? ''}`}
          title={of.alarm ? `End the silence of alarm ${of.alarm.slice(0, 6)}?` : `End all silences of ${of.model ?? ''}?`}
          onConfirm={() => endSilences(target)}
        >
          <div>Receivers are told at once of what opened or became worse meanwhile.</div>
        </Confirm>
      )}
    </li>
  );
}
