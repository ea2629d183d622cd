import { Copy } from './Copy';

/** A command as one types it in a terminal, copyable. */
export function Command({ children }: { children: string }) {
  return (
    <span className="command">
      <code>
        <span className="prompt" aria-hidden="true">$ </span>
        {children}
      </code>
      <Copy text={children} label="Copy the command" />
    </span>
  );
}
