import { Button, Select, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { useSession } from '../../api/session';
import { Command } from '../../parts/Command';
import { Failed, Prose } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { State } from '../../parts/State';
import { askCan } from './api';
import { ACTIONS, place, quoted, ROLES } from './words';

/** Who one is to the server, and what that allows. */
export function Me() {
  const { data: me, error, refetch } = useSession();
  if (error && !me) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!me) return <Skeletons lines={4} />;
  return (
    <div className="access">
      <section>
        <h2>You are {me.name}</h2>
        <dl className="about">
          <div><dt>In the ledger</dt><dd><code>{String(me.principal)}</code></dd></div>
          <div><dt>Came with</dt><dd>{me.token === null ? 'the data directory of the server' : <>token <code>{me.token}</code></>}</dd></div>
          <div><dt>Used at most for</dt><dd>{me.scopes === null ? 'all that your roles allow' : (me.scopes as string[]).join(', ')}</dd></div>
          <div>
            <dt>Roles</dt>
            <dd>
              {me.grants.length === 0 && <span>{String(me.principal) === 'local' ? 'none needed: whoever owns the data directory may do everything' : 'none'}</span>}
              {me.grants.map((grant) => (
                <div key={`${grant.role} ${grant.in} ${JSON.stringify(grant.to)}`}>
                  <b>{grant.role}</b> {place(grant.in)}{'group' in grant.to && <span className="dim">, by the group {grant.to.group}</span>}
                  <span className="dim"> · {ROLES[grant.role]}</span>
                </div>
              ))}
            </dd>
          </div>
        </dl>
        <Command>decalog whoami</Command>
      </section>
      <Can />
    </div>
  );
}

/** Asks whether somebody may do something, and by which right. */
function Can() {
  const [who, setWho] = useState('');
  const [action, setAction] = useState<string>('release');
  const [object, setObject] = useState('');
  const name = who.trim();
  const of = object.trim() || '*';
  const ask = useMutation({ mutationFn: () => askCan(action, of, name || undefined) });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    ask.mutate();
  };
  return (
    <section>
      <h2>May somebody do something?</h2>
      <form className="can" onSubmit={submit} onChange={() => ask.reset()}>
        <TextInput label="Who" placeholder="you" w={130} value={who} onChange={(event) => setWho(event.currentTarget.value)} autoComplete="off" />
        <Select label="Does" w={130} searchable allowDeselect={false} data={ACTIONS} value={action} onChange={(value) => { setAction(value ?? 'read'); ask.reset(); }} />
        <TextInput label="With" placeholder="everything" w={240} value={object} onChange={(event) => setObject(event.currentTarget.value)} autoComplete="off" />
        <Button type="submit" loading={ask.isPending}>Ask</Button>
      </form>
      <p className="dim">A model as <code>fraud/churn</code> or <code>fraud/churn@production</code>, a project as <code>fraud/*</code>, an environment as <code>fraud/*@production</code>.</p>
      <div aria-live="polite">
        {ask.data && (
          <p className="can-answer">
            <State tone={ask.data.allowed ? 'good' : ask.data.may_propose ? 'busy' : 'bad'}>{ask.data.allowed ? 'yes' : ask.data.may_propose ? 'may propose it' : 'no'}</State>
            <span><Prose text={ask.data.says} /></span>
          </p>
        )}
      </div>
      {ask.error && <Failed problem={ask.error} />}
      <Command>{`decalog can ${name ? `${quoted(name)} ` : ''}${action} ${quoted(of)}`}</Command>
    </section>
  );
}
