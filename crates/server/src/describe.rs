//! What an endpoint takes and gives, read from the signature of its handler, so that the OpenAPI
//! document cannot say anything else than the code does.

use axum::Json;
use axum::extract::State;
use domain::Code;
use http::HeaderMap;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{Api, ApiError};

/// Where the document keeps the schemas of types.
const DEFINITIONS: &str = "/components/schemas";

/// Makes schemas of types: what may be left out of a request is always in an answer, so the two
/// are described apart.
pub struct Schemas {
    /// Of what is read.
    pub read: SchemaGenerator,
    /// Of what is written.
    pub written: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Schemas {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = DEFINITIONS.into();
            settings.meta_schema = None;
        });
        Schemas {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }
}

/// One operation of the document as it comes to be.
pub struct Operation<'a> {
    /// Of all operations.
    pub schemas: &'a mut Schemas,
    /// Of path, query and header.
    pub parameters: Vec<Value>,
    /// By content type.
    pub body: Map<String, Value>,
    /// The answer where nothing is wrong, by content type.
    pub answer: Map<String, Value>,
    /// With which an extractor refuses.
    pub codes: Vec<Code>,
}

impl<'a> Operation<'a> {
    /// One that takes and gives nothing yet.
    pub fn new(schemas: &'a mut Schemas) -> Operation<'a> {
        let (body, answer) = (Map::new(), Map::new());
        Operation { schemas, parameters: vec![], body, answer, codes: vec![] }
    }

    /// Adds a parameter for each field of a type.
    pub fn parameters<T: JsonSchema>(&mut self, place: &str) {
        let mut object = T::json_schema(&mut self.schemas.read);
        let object = object.ensure_object();
        let required = object.get("required").cloned().unwrap_or_default();
        let fields = object.get("properties").and_then(Value::as_object).cloned();
        for (name, schema) in fields.unwrap_or_default() {
            let is_required = required.as_array().is_some_and(|all| all.contains(&json!(name)));
            let mut schema = without_null(schema);
            let mut parameter = json!({ "name": name, "in": place, "required": is_required });
            if let Some(description) = schema.as_object_mut().and_then(|s| s.remove("description"))
            {
                parameter["description"] = description;
            }
            parameter["schema"] = schema;
            self.parameters.push(parameter);
        }
    }

    /// The answer has bytes of this type, which JSON does not describe.
    pub fn answers(&mut self, content_type: &str, description: &str) {
        let schema = json!({ "type": "string", "description": description });
        self.answer.insert(content_type.into(), json!({ "schema": schema }));
    }

    /// The answer is JSON.
    pub fn answers_json<T: JsonSchema>(&mut self) {
        let schema = self.schemas.written.subschema_for::<T>();
        self.answer.insert("application/json".into(), json!({ "schema": schema }));
    }
}

/// A parameter that may be left out is not `null`.
fn without_null(mut schema: Value) -> Value {
    let null = json!("null");
    if let Some(types) = schema.get_mut("type").filter(|types| types.is_array())
        && let Some(of) = types.as_array().and_then(|t| t.iter().find(|t| **t != null)).cloned()
    {
        *types = of;
    }
    let choices = schema.as_object_mut().and_then(|schema| schema.remove("anyOf"));
    let choice = choices.as_ref().and_then(Value::as_array).and_then(|choices| {
        choices.iter().find(|choice| choice.get("type") != Some(&null)).cloned()
    });
    if let (Some(Value::Object(choice)), Some(schema)) = (choice, schema.as_object_mut()) {
        schema.extend(choice);
    }
    schema
}

/// What a handler takes.
pub trait Input {
    /// Adds it.
    fn describe(operation: &mut Operation);
}

/// What a handler gives.
pub trait Output {
    /// Adds it.
    fn describe(operation: &mut Operation);
}

impl Input for State<Api> {
    fn describe(_: &mut Operation) {}
}

impl Input for HeaderMap {
    fn describe(_: &mut Operation) {}
}

impl Input for axum::body::Body {
    fn describe(operation: &mut Operation) {
        let schema = json!({ "type": "string", "format": "binary" });
        operation.body.insert("application/octet-stream".into(), json!({ "schema": schema }));
    }
}

impl<T: JsonSchema> Output for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>();
    }
}

impl Output for String {
    fn describe(operation: &mut Operation) {
        operation.answers("text/plain", "Lines of text");
    }
}

impl Output for &'static str {
    fn describe(operation: &mut Operation) {
        String::describe(operation);
    }
}

impl<T: Output> Output for Result<T, ApiError> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

/// A handler: an async function of inputs. `Signature` tells apart those of different length.
pub trait Handler<Signature> {
    /// Adds all that it takes and gives.
    fn describe(self, operation: &mut Operation);
}

macro_rules! handlers {
    ($([$($input:ident),*])*) => {$(
        impl<F, Answer, $($input: Input),*> Handler<($($input,)*)> for F
        where
            F: AsyncFn($($input),*) -> Answer,
            Answer: Output,
        {
            fn describe(self, operation: &mut Operation) {
                $($input::describe(operation);)*
                Answer::describe(operation);
            }
        }
    )*};
}

handlers! { [] [A] [A, B] [A, B, C] [A, B, C, D] [A, B, C, D, E] }
