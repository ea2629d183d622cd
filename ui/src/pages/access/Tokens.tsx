import { Button, Select, Switch } from '@mantine/core';
import { useMemo, useState } from 'react';
import { useSession } from '../../api/session';
import { Confirm } from '../../parts/Confirm';
import { type Column, DataTable } from '../../parts/DataTable';
import { Empty, Failed } from '../../parts/Notices';
import { State } from '../../parts/State';
import { Time } from '../../parts/Time';
import { ifMade, type NewToken, revokeToken, rotateToken, type Token, useTokens } from './api';
import { MakeToken } from './MakeToken';
import type { AccessSearch } from './search';
import { Secret } from './Secret';
import { SessionEnd } from './SessionEnd';
import { ORIGINS } from './words';

const OVERLAPS = [{ value: '0', label: 'ends at once' }, { value: '3600000', label: 'stays valid for 1 hour' }, { value: '86400000', label: 'stays valid for 1 day' }, { value: '604800000', label: 'stays valid for 7 days' }];
const OVERLAP_TEXTS: Readonly<Record<string, string>> = { '0': '0s', '3600000': '1h', '86400000': '24h', '604800000': '7d' };

type Asked = { do: 'revoke' | 'rotate'; token: Token } | { do: 'make' } | null;

/** Tokens: one's own, and those of whom one may make some for. */
export function Tokens({ mine, ended, onChange }: { mine: true | undefined; ended: true | undefined; onChange: (change: AccessSearch) => void }) {
  const { data, error, refetch } = useTokens();
  const { data: me } = useSession();
  const [asked, setAsked] = useState<Asked>(null);
  const [made, setMade] = useState<NewToken | null>(null);
  const columns = useMemo(() => tokenColumns(setAsked), []);
  const close = () => setAsked(null);

  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  const all = data?.tokens ?? [];
  const shown = all.filter((token) => (!mine || token.principal === me?.principal) && (ended || token.state === 'valid' || token.state === 'maker_gone'));
  const over = all.filter((token) => token.state !== 'valid' && token.state !== 'maker_gone').length;
  return (
    <div className="access access-fill">
      <div className="access-tools">
        <Switch size="xs" label="Mine alone" checked={mine ?? false} onChange={(event) => onChange({ mine: event.currentTarget.checked || undefined })} />
        {over > 0 && <Switch size="xs" label={`With ${over} that ended`} checked={ended ?? false} onChange={(event) => onChange({ ended: event.currentTarget.checked || undefined })} />}
        <Button className="access-make" onClick={() => setAsked({ do: 'make' })}>Make a token</Button>
      </div>
      <DataTable
        fill label="Tokens" rows={shown} columns={columns} rowKey={(token) => token.id} loading={!data}
        empty={<Empty icon="access" title={mine ? 'You have no token' : 'There is no token that you may see'} command="decalog token create shop --predict fraud/churn --expires 90d" />}
      />
      <MakeToken opened={asked?.do === 'make'} onClose={close} onMade={setMade} />
      {asked?.do === 'revoke' && <Revoke token={asked.token} onClose={close} />}
      {asked?.do === 'rotate' && <Rotate token={asked.token} onClose={close} onMade={setMade} />}
      <Secret token={made} onClose={() => setMade(null)} />
    </div>
  );
}

function Revoke({ token, onClose }: { token: Token; onClose: () => void }) {
  return (
    <Confirm
      opened onClose={onClose} danger verb="Revoke" title={`Revoke token ${token.id} of ${token.owner}?`} command={`decalog token revoke ${token.id}`}
      onConfirm={() => revokeToken(token.id)}
    >
      <div>Whoever uses it is refused within a second, also in answers that stream. It cannot be undone. It allows {token.scopes.join(', ')}.</div>
    </Confirm>
  );
}

function Rotate({ token, onClose, onMade }: { token: Token; onClose: () => void; onMade: (made: NewToken) => void }) {
  const [overlap, setOverlap] = useState('86400000');
  return (
    <Confirm
      opened onClose={onClose} verb="Rotate" title={`Give token ${token.id} of ${token.owner} another text?`}
      command={`decalog token rotate ${token.id} --overlap ${OVERLAP_TEXTS[overlap] ?? '24h'}`}
      onConfirm={async () => ifMade(await rotateToken(token.id, Number(overlap)), onMade)}
    >
      <Select label="The text of now" data={OVERLAPS} value={overlap} allowDeselect={false} onChange={(value) => setOverlap(value ?? '86400000')} />
      <SessionEnd verb="rotated" />
      <div className="dim">The new text is shown once. If the token is somebody else's, it is known to you from then on, and allows no more than you may yourself.</div>
    </Confirm>
  );
}

function StateOf({ token }: { token: Token }) {
  if (token.state === 'valid') return <State tone="good" plain>valid</State>;
  if (token.state === 'maker_gone') return <State tone="warning" plain explain="It was made by somebody who is gone: its owner can rotate it">maker gone</State>;
  return <State tone="quiet" plain>{token.state}</State>;
}

function limitsOf({ rate, concurrent_requests_max: atOnce, rows_day_max: rows }: Token['limits']): string {
  return [rate, atOnce && `${atOnce} at once`, rows && `${rows.toLocaleString('en')} rows/d`].filter(Boolean).join(', ');
}

function tokenColumns(onAsk: (asked: Asked) => void): readonly Column<Token>[] {
  return [
    { id: 'owner', title: 'Owner', width: 110, grow: 1, cell: (token) => <b title={String(token.principal)}>{token.owner}</b> },
    { id: 'id', title: 'Token', width: 84, cell: (token) => <code>{token.id}</code> },
    { id: 'scopes', title: 'May be used for', width: 120, grow: 2, from: 560, cell: (token) => <span title={token.scopes.join(', ')}>{token.scopes.join(', ')}</span> },
    { id: 'limits', title: 'At most', width: 110, from: 1_000, cell: (token) => <span className="dim" title={limitsOf(token.limits)}>{limitsOf(token.limits) || 'no limit'}</span> },
    { id: 'origin', title: 'Is', width: 150, from: 860, cell: (token) => <span className="dim">{ORIGINS[token.origin] ?? token.origin}</span> },
    { id: 'known', title: 'Known to', width: 100, from: 1_080, hint: 'Who else has known its text: it allows no more than they may themselves', cell: (token) => <span className="dim" title={token.known_to.join(', ')}>{token.known_to.join(', ') || 'nobody else'}</span> },
    { id: 'issued', title: 'Made', width: 98, from: 940, hint: 'Or rotated last', cell: (token) => <Time at={token.issued_ms} /> },
    { id: 'expires', title: 'Ends', width: 90, from: 700, cell: (token) => (token.expires_ms === null ? <span className="dim">never</span> : <Time at={token.expires_ms} />) },
    { id: 'state', title: 'State', width: 112, from: 440, cell: (token) => <StateOf token={token} /> },
    {
      id: 'act', title: 'Do', width: 158,
      cell: (token) => token.state !== 'revoked' && token.state !== 'expired' && (
        <>
          {token.origin === 'made' && <Button size="compact-xs" variant="subtle" color="gray" fw={500} px={6} onClick={() => onAsk({ do: 'rotate', token })} aria-label={`Rotate ${token.id}`}>Rotate</Button>}
          <Button size="compact-xs" variant="subtle" color="gray" fw={500} px={6} onClick={() => onAsk({ do: 'revoke', token })} aria-label={`Revoke ${token.id}`}>Revoke</Button>
        </>
      ),
    },
  ];
}
