import { Skeleton } from '@mantine/core';

/** Lines in the place of what is being loaded. */
export function Skeletons({ lines = 6, height = 18 }: { lines?: number; height?: number }) {
  return (
    <div className="skeletons" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, index) => (
        <Skeleton key={index} height={height} width={`${92 - ((index * 17) % 40)}%`} />
      ))}
    </div>
  );
}
