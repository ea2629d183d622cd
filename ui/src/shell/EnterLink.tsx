import { Button, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { keys } from '../api/keys';
import { queries } from '../api/queries';

/** The key of a link that `decalog dashboard` printed. Whoever pastes the key alone means the same. */
function keyOf(text: string): string {
  return /[?&]key=([^&\s#]+)/.exec(text)?.[1] ?? text.trim();
}

/**
 * Opens a session at this very address by a link of `decalog dashboard`. On one machine each link has a host name of its
 * own, and what it leads to is another page; pasted here it lets this one go on.
 */
export function EnterLink() {
  const [link, setLink] = useState('');
  const [wrong, setWrong] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const enter = async (event: FormEvent) => {
    event.preventDefault();
    if (link.trim() === '') return;
    setBusy(true);
    setWrong(null);
    try {
      const answer = await fetch('/login/link', { method: 'POST', credentials: 'same-origin', body: new URLSearchParams({ key: keyOf(link) }) });
      if (!answer.ok) throw new Error('It is good once, for a minute: print another.');
      await queries.invalidateQueries({ queryKey: keys.session });
    } catch (cause) {
      setWrong(cause instanceof TypeError ? 'The server does not answer.' : String((cause as Error).message));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="enter-link" onSubmit={(event) => void enter(event)}>
      <TextInput
        aria-label="The link that it prints" placeholder="Paste the link here" value={link} error={wrong} autoComplete="off" spellCheck={false}
        onChange={(event) => setLink(event.currentTarget.value)}
      />
      <Button type="submit" loading={busy}>Go on</Button>
    </form>
  );
}
