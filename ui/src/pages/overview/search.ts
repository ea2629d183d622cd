import { MODEL_SORTS, type ModelSort } from '../../api/models';
import { flag, oneOf, type Raw, text } from '../../search';

/** What the address of the overview says behind `?`. */
export interface OverviewSearch {
  search?: string | undefined;
  project?: string | undefined;
  sort?: ModelSort | undefined;
  /** Without groups of projects. */
  flat?: true | undefined;
}

export function overviewSearch(raw: Raw): OverviewSearch {
  const sort = oneOf(raw.sort, MODEL_SORTS);
  return { search: text(raw.search), project: text(raw.project), sort: sort === 'name' ? undefined : sort, flat: flag(raw.flat) };
}
