import { ActionIcon, Tooltip } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useOpenAlarms } from '../api/alarms';
import { useLive } from '../api/live';
import { useSession } from '../api/session';
import { clock } from '../format';
import { Icon } from '../parts/Icon';
import { openFind } from './find-store';
import { PAGES } from './pages';
import { ThemeSwitch } from './ThemeSwitch';

const KEY = navigator.platform.startsWith('Mac') ? '⌘K' : 'Ctrl K';

/** The left edge: where one can go, who one is, and whether what is shown is of now. */
export function Navigation({ isFolded, onFold, onGo }: { isFolded: boolean; onFold: () => void; onGo: () => void }) {
  const { data: alarms } = useOpenAlarms();
  const open = alarms?.open.length ?? 0;
  return (
    <nav className="nav" data-folded={isFolded || undefined} aria-label="Pages">
      <button type="button" className="nav-find" onClick={openFind} aria-label="Find" aria-keyshortcuts="Control+K Meta+K">
        <Icon name="search" />
        <span className="nav-word">Find</span>
        <kbd className="nav-word" aria-hidden="true" data-key={KEY} />
      </button>
      <ul>
        {PAGES.map((page) => (
          <li key={page.to}>
            <Tooltip label={page.title} disabled={!isFolded} position="right">
              <Link to={page.to} className="nav-link" activeOptions={{ exact: page.to === '/', includeSearch: false }} onClick={onGo}
                aria-label={isFolded ? (page.to === '/alarms' && open > 0 ? `Alarms, ${open} open` : page.title) : undefined}>
                <Icon name={page.icon} />
                <span className="nav-word">{page.title}</span>
                {page.to === '/alarms' && open > 0 && <span className="nav-count num">{open}<span className="outside"> open</span></span>}
              </Link>
            </Tooltip>
          </li>
        ))}
      </ul>
      <div className="nav-foot">
        <LiveSign />
        <Who />
        <div className="nav-buttons">
          <ThemeSwitch />
          <Tooltip label={isFolded ? 'Unfold' : 'Fold'}>
            <ActionIcon className="nav-fold" aria-label={isFolded ? 'Unfold the navigation' : 'Fold the navigation'} aria-expanded={!isFolded} onClick={onFold}>
              <Icon name={isFolded ? 'right' : 'left'} />
            </ActionIcon>
          </Tooltip>
        </div>
      </div>
    </nav>
  );
}

const SIGNS = {
  streaming: ['live', 'Numbers come in every second'],
  polling: ['every 5 s', 'This server is asked every five seconds'],
  connecting: ['connecting', 'Waiting for the first numbers'],
  away: ['stale', 'The server does not answer'],
} as const;

function LiveSign() {
  const { mode, heardAt } = useLive();
  const [word, explain] = SIGNS[mode];
  return (
    <Tooltip label={explain} position="right">
      <span className="live-sign" data-mode={mode} tabIndex={0}>
        <span className="live-dot" aria-hidden="true" />
        <span className="nav-word">{mode === 'away' && heardAt !== null ? `stale since ${clock(heardAt)}` : word}</span>
      </span>
    </Tooltip>
  );
}

function Who() {
  const { data: me } = useSession();
  if (!me) return null;
  const roles = me.grants.map((grant) => `${grant.role} of ${grant.in}`).join(', ');
  return (
    <span className="nav-word who" title={roles || undefined}>
      <span>{me.name}</span>
      <form method="post" action="/logout"><button type="submit" className="quiet-button">Log out</button></form>
    </span>
  );
}
