import type { Schema } from '../../../api/client';

/** What each tab of a model's page is given. */
export interface TabProps {
  project: string;
  model: string;
  /** The environment that is looked at, such as `production`. */
  environment: string;
  view: Schema<'ModelView'>;
}
