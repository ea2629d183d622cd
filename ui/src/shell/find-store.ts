import { useEffect, useSyncExternalStore } from 'react';
import { spotlight } from '@mantine/spotlight';

/** Whether somebody wanted to find something: the code for it is loaded then. */
let wanted = false;
const listeners = new Set<() => void>();

export function useFindWanted(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => wanted,
  );
}

export function openFind(): void {
  wanted = true;
  listeners.forEach((listener) => listener());
  spotlight.open();
}

/** ⌘K or Ctrl-K, also while one types. */
export function useFindKey(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.metaKey || event.ctrlKey) || event.shiftKey || event.altKey) return;
      event.preventDefault();
      openFind();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
}
