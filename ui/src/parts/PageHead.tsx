import { useDocumentTitle } from '@mantine/hooks';
import type { ReactNode } from 'react';

/** The head of a page: its title, also that of the window, what stands beside it, and what belongs at its right. */
export function PageHead({ title, shown, beside, children }: { title: string; shown?: ReactNode; beside?: ReactNode; children?: ReactNode }) {
  useDocumentTitle(`${title} · Decalog`);
  return (
    <header className="page-head">
      <h1>{shown ?? title}</h1>
      {beside}
      <div className="page-tools">{children}</div>
    </header>
  );
}
