// What the document does not allow does not compile: each line that is marked as wrong must be.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: "http://127.0.0.1" });
const path = { project: "default", model: "churn" };

// @ts-expect-error: there is no such path.
await client.GET("/v1/modells");
// @ts-expect-error: a deployment names a version.
await client.POST("/v1/projects/{project}/models/{model}/deployments", { params: { path }, body: {} });
// @ts-expect-error: a release cannot do that.
await client.POST("/v1/projects/{project}/models/{model}/release/{action}", { params: { path: { ...path, action: "stop" } }, body: {} });
