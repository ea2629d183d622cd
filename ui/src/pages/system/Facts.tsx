import type { ReactNode } from 'react';

/** Names and what is so, below each other. */
export function Facts({ of, wide }: { of: readonly (readonly [string, ReactNode])[]; wide?: boolean }) {
  return (
    <dl className="system-facts" data-wide={wide}>
      {of.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}
