import { Button } from '@mantine/core';
import { useState } from 'react';
import { useLive } from '../api/live';
import { clock } from '../format';
import { Command } from '../parts/Command';
import { Icon } from '../parts/Icon';
import { useNow } from '../parts/now';
import { EnterLink } from './EnterLink';

/** What is wrong with the connection, above all pages: nothing else may look as if it were of now. */
export function Banner() {
  const live = useLive();
  const [dismissed, setDismissed] = useState<string | null>(null);
  if (live.mode === 'away') return <Away heardAt={live.heardAt} retryAt={live.retryAt} />;
  if (live.version !== null && live.version !== live.firstVersion && live.version !== dismissed) {
    return (
      <div className="banner" role="status">
        <Icon name="info" />
        <span>The server is version {live.version} now; this page is of {live.firstVersion}.</span>
        <Button size="compact-xs" onClick={() => location.reload()}>Reload</Button>
        <Button size="compact-xs" variant="subtle" onClick={() => setDismissed(live.version)}>Later</Button>
      </div>
    );
  }
  return null;
}

/** The session is over, as it is after some hours. What is on the page stays. */
export function SessionEnded() {
  return (
    <div className="banner" data-tone="warning" role="alert">
      <Icon name="lock" />
      <span>Your session has ended. Paste the link that this prints, and the page goes on as it is:</span>
      <Command>decalog dashboard --print</Command>
      <EnterLink />
      <span>or <a href="/login" target="_blank" rel="noreferrer">log in</a>.</span>
    </div>
  );
}

function Away({ heardAt, retryAt }: { heardAt: number | null; retryAt: number | null }) {
  const now = useNow();
  const left = retryAt === null ? 0 : Math.ceil((retryAt - now) / 1000);
  return (
    <div className="banner" data-tone="warning" role="alert">
      <Icon name="warning" />
      <span>
        {navigator.onLine ? 'The server does not answer' : 'This machine is offline'}
        {heardAt !== null && <>: what you see is stale since <b className="num">{clock(heardAt)}</b></>}.{' '}
        {/* The seconds are not read aloud each time. */}
        <span aria-hidden="true">{left > 0 ? `Trying again in ${left} s.` : 'Trying again …'}</span>
      </span>
    </div>
  );
}
