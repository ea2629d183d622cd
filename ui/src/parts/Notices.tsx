import { Button } from '@mantine/core';
import type { ReactNode } from 'react';
import { toProblem } from '../api/problem';
import { Command } from './Command';
import { Icon, type IconName } from './Icon';

/* What a page shows instead of its content. All have the same shape: what is so, and what to do about it. */

function Notice({ icon, title, children, role }: { icon: IconName; title: ReactNode; children?: ReactNode; role?: 'alert' | 'status' }) {
  return (
    <div className="notice" role={role}>
      <Icon name={icon} size={22} />
      <p className="notice-title">{title}</p>
      {children}
    </div>
  );
}

/** There is nothing yet. `command` fills it. */
export function Empty({ title, children, command, icon = 'info' }: {
  title: string;
  children?: ReactNode;
  command?: string | readonly string[];
  icon?: IconName;
}) {
  const commands = command === undefined ? [] : typeof command === 'string' ? [command] : command;
  return (
    <Notice icon={icon} title={title} role="status">
      {children && <div className="notice-text">{children}</div>}
      {commands.map((text) => <Command key={text}>{text}</Command>)}
    </Notice>
  );
}

/**
 * Something could not be read, or with `doing` done: what the server says of it, and its help. What one may not see,
 * and what is not there, look less like a failure.
 */
export function Failed({ problem: cause, onRetry, doing }: { problem: unknown; onRetry?: (() => void) | undefined; doing?: boolean }) {
  const problem = toProblem(cause);
  if (problem.isForbidden) return <NotAllowed says={problem.message} help={problem.help} title={doing ? 'You may not do this' : undefined} />;
  return (
    <Notice icon={problem.isMissing ? 'search' : 'warning'} title={<Prose text={problem.message} />} role="alert">
      {problem.details.length > 0 && <pre className="notice-details">{problem.details.join('\n')}</pre>}
      {problem.help && <div className="notice-text"><Prose text={problem.help} /></div>}
      <div className="notice-foot">
        <code>{problem.code}</code>
        {onRetry && <Button variant="default" onClick={onRetry}>Try again</Button>}
      </div>
    </Notice>
  );
}

/** There is something, but not for whoever looks. */
export function NotAllowed({ says, help, title = 'You may not see this' }: { says: string; help?: string | null | undefined; title?: string | undefined }) {
  return (
    <Notice icon="lock" title={title} role="status">
      <div className="notice-text"><Prose text={says} /></div>
      {help && <div className="notice-text"><Prose text={help} /></div>}
      <Command>decalog whoami</Command>
    </Notice>
  );
}

/** A version or a command keeps its small letter, wherever it stands. */
const IS_NAME = /^(v\d|decalog )/;

/** A sentence of the server: it begins with a capital here, and what stands between backticks is code. A command alone is one. */
export function Prose({ text }: { text: string }) {
  if (/^decalog [^`\n]+$/.test(text)) return <Command>{text}</Command>;
  const parts = (IS_NAME.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1)).split('`');
  return parts.map((part, index) => (index % 2 === 1 && index < parts.length - 1 ? <code key={index}>{part}</code> : part));
}
