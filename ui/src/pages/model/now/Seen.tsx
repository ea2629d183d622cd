import { type ReactNode, useEffect, useRef, useState } from 'react';

/** Makes its content when it comes into sight, and keeps it then. Until then it takes as much room. */
export function Seen({ height, children }: { height: number; children: () => ReactNode }) {
  const ref = useRef<HTMLDivElement>(null);
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element || isSeen) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && setSeen(true), { rootMargin: '120px' });
    observer.observe(element);
    return () => observer.disconnect();
  }, [isSeen]);
  return <div ref={ref} style={{ minHeight: height }}>{isSeen && children()}</div>;
}
