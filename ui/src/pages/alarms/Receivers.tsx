import { useState } from 'react';
import { count } from '../../format';
import { ActionButton } from '../../parts/ActionButton';
import { Command } from '../../parts/Command';
import { Confirm } from '../../parts/Confirm';
import { Empty, Failed, Prose } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { State } from '../../parts/State';
import { Time } from '../../parts/Time';
import { type Receiver, removeReceiver, testReceiver, useReceivers } from './api';

const KINDS: Readonly<Record<string, string>> = { webhook: 'Webhook', slack: 'Slack', alertmanager: 'Alertmanager' };
const ADD = 'decalog alerts add ops https://hooks.example.org/decalog';

/** Where alarms go, and what was not told. */
export function Receivers() {
  const { data, error, refetch } = useReceivers();
  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeletons />;
  if (data.receivers.length === 0) {
    return <Empty icon="alarm" title="Nobody is told of alarms" command={[ADD, 'decalog alerts add team --slack - < url.txt']}>A receiver is a webhook, a channel of Slack, or Alertmanager.</Empty>;
  }
  return (
    <div className="alarms">
      <ul className="lines">{data.receivers.map((one) => <Line key={one.name} of={one} />)}</ul>
      <div className="alarm-foot"><span className="dim">Another one:</span> <Command>{ADD}</Command></div>
    </div>
  );
}

function Line({ of }: { of: Receiver }) {
  const [asked, setAsked] = useState<'test' | 'remove' | null>(null);
  const { status } = of;
  const isFailing = status.failing_since_ms !== null;
  return (
    <li>
      <div className="line-text">
        <div className="receiver-name">
          <b>{of.name}</b>
          {isFailing ? <State tone="bad">failing since <Time at={status.failing_since_ms} as="moment" /></State>
            : status.told_ms === null ? <State tone="quiet">told nothing yet</State> : <State tone="good">told <Time at={status.told_ms} /></State>}
        </div>
        <p className="facts">
          <span>{KINDS[of.kind] ?? of.kind} at {of.host}</span>
          <span>{of.model ? `${of.model} alone` : 'all models and the platform'}</span>
          <span>{of.severity === 'alert' ? 'alerts' : of.severity === 'warning' ? 'warnings and alerts' : 'all severities'}</span>
        </p>
        <p className="facts num">
          <span>{count(status.delivered)} told</span>
          <span>{count(status.waiting)} waiting</span>
          {status.lost > 0 ? <State tone="bad" plain>{count(status.lost)} lost</State> : <span>0 lost</span>}
        </p>
        {status.error && <p className="receiver-error"><Prose text={status.error} /></p>}
      </div>
      <div className="line-act">
        <ActionButton action="administer" object="*" variant="default" onAct={() => setAsked('test')}>Test</ActionButton>
        <ActionButton action="administer" object="*" variant="default" onAct={() => setAsked('remove')}>Remove</ActionButton>
      </div>
      <Confirm
        opened={asked === 'test'} onClose={() => setAsked(null)} title={`Send a made-up alarm to ${of.name}?`} verb="Send" command={`decalog alerts test ${of.name}`}
        onConfirm={() => testReceiver(of.name)}
      >
        <div>It says that it is a test. {of.host} gets it at once, and once.</div>
      </Confirm>
      <Confirm
        opened={asked === 'remove'} onClose={() => setAsked(null)} title={`Remove the receiver ${of.name}?`} verb="Remove" danger command={`decalog alerts rm ${of.name}`}
        onConfirm={() => removeReceiver(of.name)}
      >
        <div>It is told nothing more. What waits for it, {count(status.waiting)} so far, is dropped.</div>
      </Confirm>
    </li>
  );
}
