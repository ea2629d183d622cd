import { Button } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { toProblem } from '../api/problem';
import { Failed } from '../parts/Notices';

/** A page that could not be shown. The frame around it stays. */
export function PageFailed({ error, reset }: { error: unknown; reset?: () => void }) {
  // A page of before an upgrade asks for files that are no longer there.
  if (error instanceof Error && /dynamically imported module|module script/i.test(error.message)) return <Outdated />;
  return <Failed problem={toProblem(error, 1)} onRetry={reset ?? (() => location.reload())} />;
}

function Outdated() {
  return (
    <div className="notice" role="alert">
      <p className="notice-title">This part of the dashboard could not be loaded</p>
      <div className="notice-text">The server may have been upgraded, or be away.</div>
      <Button onClick={() => location.reload()}>Reload</Button>
    </div>
  );
}

/** The last resort: what goes wrong outside of pages. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    return this.state.error === null ? this.props.children : <PageFailed error={this.state.error} />;
  }
}
