import { QueryCache, QueryClient } from '@tanstack/react-query';
import { keys } from './keys';
import { toProblem } from './problem';

/** One client for the whole page. What the live stream does not cover is asked again when the window is looked at. */
export const queries = new QueryClient({
  queryCache: new QueryCache({
    onError(cause, query) {
      const about = query.queryKey[0];
      // A session that ended is noticed by whatever is asked next; the frame then shows how to get in.
      if (toProblem(cause).isStranger && about !== keys.session[0]) void queries.invalidateQueries({ queryKey: keys.session });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      gcTime: 10 * 60_000,
      refetchOnWindowFocus: true,
      networkMode: 'always',
      retry: (count, cause) => count < 3 && [0, 429, 503].includes(toProblem(cause).status),
      retryDelay: (count) => Math.min(500 * 2 ** count, 5_000),
    },
    mutations: { networkMode: 'always', retry: false },
  },
});
