/** How things are called in commands. Pure. */

/** A model as commands name it: `churn`, or `fraud/churn` outside the default project. */
export function nameOf(project: string, model: string): string {
  return project === 'default' ? model : `${project}/${model}`;
}

/** What a command says of an environment: nothing for `production`. */
export function inEnvironment(environment: string): string {
  return environment === 'production' ? '' : ` --env ${environment}`;
}

/** A model as an address of predictions names it. */
export function referenceOf(project: string, model: string, environment: string): string {
  return `${nameOf(project, model)}${environment === 'production' ? '' : `@${environment}`}`;
}
