import { useDocumentTitle } from '@mantine/hooks';
import type { ReactNode } from 'react';

/** The head of a page: its title, also that of the window, and what belongs at its right. */
export function PageHead({ title, shown, children }: { title: string; shown?: ReactNode; children?: ReactNode }) {
  useDocumentTitle(`${title} · Decalog`);
  return (
    <header className="page-head">
      <h1>{shown ?? title}</h1>
      <div className="page-tools">{children}</div>
    </header>
  );
}
