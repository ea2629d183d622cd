import { Kbd, Modal } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { PAGES } from './pages';

const HELP: readonly (readonly [keys: string, does: string])[] = [
  ['Ctrl K', 'Find a model, a version, an alarm, a page, or something to do'],
  ['/', 'Search on this page'],
  ...PAGES.map((page) => [`g ${page.key}`, `Go to ${page.title}`] as const),
  ['↑ ↓', 'Move in a table; also j and k'],
  ['Enter', 'Open the row'],
  ['[', 'Fold the navigation'],
  ['?', 'These shortcuts'],
];

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** The shortcuts of all pages, and the help that lists them. */
export function Shortcuts({ onFold }: { onFold: () => void }) {
  const [opened, setOpened] = useState(false);
  const navigate = useNavigate();

  useEffect(() => {
    let goes = false;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
      if (document.querySelector('[role="dialog"]')) return;
      const page = goes ? PAGES.find(({ key }) => key === event.key) : undefined;
      goes = event.key === 'g' && !goes;
      if (page) void navigate({ to: page.to });
      else if (event.key === '?') setOpened(true);
      else if (event.key === '[') onFold();
      else if (event.key === '/') {
        const field = document.querySelector<HTMLInputElement>('[data-search]');
        if (!field) return;
        event.preventDefault();
        field.focus();
        field.select();
      }
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [navigate, onFold]);

  return (
    <Modal opened={opened} onClose={() => setOpened(false)} title="Shortcuts">
      <dl className="shortcuts">
        {HELP.map(([keys, does]) => (
          <div key={keys}>
            <dt>{keys.split(' ').map((key) => <Kbd key={key} size="xs">{key}</Kbd>)}</dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
