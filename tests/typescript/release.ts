// Lists models and starts a release, with a client whose types are generated from the control API's OpenAPI document.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Model = components["schemas"]["ModelListed"];

const [baseUrl, token] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

async function models(): Promise<Model[]> {
  const { data, error } = await client.GET("/v1/models", { params: { query: { project: "default" } } });
  if (error) throw new Error(`${error.code}: ${error.error}`);
  return data.models;
}

async function release(model: Model, version: string): Promise<number> {
  const { data, error } = await client.POST("/v1/projects/{project}/models/{model}/deployments", {
    params: { path: { project: model.project, model: model.name } },
    body: { version, plan: { canary: [5, 25, 50], guards: ["errors<1%"], cause: "release" } },
  });
  if (error) throw new Error(`${error.code}: ${error.error}`);
  // Where releases need approval, this one waits for it.
  if ("code" in data) throw new Error(`${data.code}: ${data.error}`);
  return data.deployment;
}

for (const model of await models()) {
  if (model.live === "v2") console.log(`${model.name} ${await release(model, "v1")}`);
}
