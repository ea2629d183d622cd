import { Button, Tabs } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { Icon } from '../../parts/Icon';
import { Prose } from '../../parts/Notices';
import { PageHead } from '../../parts/PageHead';
import { forgetProposed, useProposals, useProposed } from './api';
import { Me } from './Me';
import { Members } from './Members';
import { Proposals } from './Proposals';
import { TABS, type Tab } from './search';
import { Tokens } from './Tokens';
import './access.css';
import './proposal.css';

const route = getRouteApi('/access');
const TITLES: Record<Tab, string> = { members: 'Members', tokens: 'Tokens', proposals: 'Proposals', me: 'What may I do?' };

/** Who may do what, with what, and what waits for somebody to agree. */
export function AccessPage() {
  const { tab = 'members', search, mine, ended, id } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: open } = useProposals(true);
  const waiting = open?.pages.reduce((sum, page) => sum + page.proposals.length, 0) ?? 0;
  return (
    <>
      <PageHead title="Access" />
      <Proposed onShow={() => void navigate({ search: { tab: 'proposals' } })} />
      <Tabs value={tab} onChange={(to) => void navigate({ search: { tab: to === 'members' ? undefined : (to as Tab) } })} className="page-tabs">
        <Tabs.List aria-label="Who may do what">
          {TABS.map((name) => (
            <Tabs.Tab key={name} value={name}>{TITLES[name]}{name === 'proposals' && waiting > 0 && <span className="num dim"> {waiting}</span>}</Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value={tab} className="page-panel">
          {tab === 'members' && <Members search={search ?? ''} onSearch={(text) => void navigate({ search: (all) => ({ ...all, search: text || undefined }), replace: true })} />}
          {tab === 'tokens' && <Tokens mine={mine} ended={ended} onChange={(change) => void navigate({ search: (all) => ({ ...all, ...change }), replace: true })} />}
          {tab === 'proposals' && <Proposals chosen={id} />}
          {tab === 'me' && <Me />}
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

/** What was asked for last, if others have to agree first. */
function Proposed({ onShow }: { onShow: () => void }) {
  const { data } = useProposed();
  if (!data) return null;
  return (
    <div className="access-proposed" role="status">
      <Icon name="info" />
      <span><Prose text={data.error} /></span>
      <Button size="compact-xs" onClick={() => { forgetProposed(); onShow(); }}>Show it</Button>
      <Button size="compact-xs" variant="subtle" onClick={forgetProposed}>Dismiss</Button>
    </div>
  );
}
