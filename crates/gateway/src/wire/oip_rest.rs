//! The Open Inference Protocol v2 over REST: health, metadata, inference in JSON and binary.

use bytes::Bytes;
use domain::{Code, Problem};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use protocol::Payload;
use protocol::oip::{self, InferRequest, InferResponse, RequestedOutput};
use protocol::simple::Form;
use serde_json::json;

use crate::Gateway;
use crate::ask::{Ask, Reply};
use crate::body::Body;
use crate::heavy::Cost;
use crate::lane::Lane;
use crate::reply;
use crate::wire::{Wire, percent_decoded};

const HEADER_LENGTH: HeaderName = HeaderName::from_static(oip::HEADER_LENGTH);

/// A path below `/v2`.
#[derive(Debug, PartialEq)]
pub enum Path {
    /// `/v2`
    Server,
    /// `/v2/health/live`
    Live,
    /// `/v2/health/ready`
    Ready,
    /// `/v2/models/M[/versions/V]`, by reference.
    Model(String),
    /// …`/ready`
    ModelReady(String),
    /// …`/infer`
    Infer(String),
}

impl Path {
    /// The model that it is about, if it is about one.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Path::Server | Path::Live | Path::Ready => None,
            Path::Model(reference) | Path::ModelReady(reference) | Path::Infer(reference) => {
                Some(reference)
            }
        }
    }
}

/// Reads a path below `/v2`. The model's name may be any reference, bare or encoded.
pub fn parse_path(path: &str) -> Option<Path> {
    match path.trim_end_matches('/') {
        "/v2" => return Some(Path::Server),
        "/v2/health/live" => return Some(Path::Live),
        "/v2/health/ready" => return Some(Path::Ready),
        _ => {}
    }
    let rest = path.trim_end_matches('/').strip_prefix("/v2/models/")?;
    let (rest, kind): (&str, fn(String) -> Path) =
        match (rest.strip_suffix("/infer"), rest.strip_suffix("/ready")) {
            (Some(rest), _) => (rest, Path::Infer),
            (_, Some(rest)) => (rest, Path::ModelReady),
            _ => (rest, Path::Model),
        };
    let reference = match rest.rsplit_once("/versions/") {
        Some((model, version)) => format!(
            "{}@v{}",
            percent_decoded(model)?,
            percent_decoded(version)?.trim_start_matches('v')
        ),
        None => percent_decoded(rest)?,
    };
    (!reference.is_empty()).then(|| kind(reference))
}

/// A request that has been read.
pub struct OipRest(InferRequest);

impl Wire for OipRest {
    const TRACED: u8 = protocol::trace::Traced::OPEN_INFERENCE;

    /// How many bytes of a body are JSON, if tensors follow it.
    type Head = Option<usize>;

    fn head(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
        let Some(value) = headers.get(&HEADER_LENGTH) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
        number.map(Some).ok_or_else(|| {
            Problem::new(Code::BadRequest, "Inference-Header-Content-Length is no number")
        })
    }

    fn read_cost(header_bytes: &Option<usize>, body: &Bytes) -> Cost {
        Cost::Text(header_bytes.unwrap_or(body.len()))
    }

    fn read(header_bytes: Option<usize>, body: Bytes) -> Result<OipRest, Problem> {
        oip::decode_request(body, header_bytes).map(OipRest)
    }

    /// Texts are looked at one by one.
    fn ask_cost(&self) -> Cost {
        let texts = self.0.inputs.iter().filter(|tensor| tensor.datatype.size().is_none());
        Cost::Text(texts.map(|tensor| tensor.data.len()).sum())
    }

    fn ask(&self, lane: &Lane) -> Result<Ask, Problem> {
        if lane.schema.streams {
            return Err(Problem::new(
                Code::Streams,
                "the model streams its answer, which this protocol has no form for",
            )
            .help("POST /v1/models/{reference}/predict answers with server-sent events"));
        }
        let request = &self.0;
        let payload = Payload::from_tensors(request.inputs.clone(), &lane.schema).map_err(
            |mut problem| {
                if problem.code == Code::SchemaMismatch {
                    problem.message = format!(
                        "the inputs do not fit {} {}",
                        lane.placement.model.model, lane.placement.version
                    );
                    problem.help = format!("decalog show {} --schema", lane.placement.model.model);
                }
                problem
            },
        )?;
        let outputs = request.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
        check_outputs(&request.outputs, lane)?;
        Ok(Ask { payload, parameters: request.parameters.clone(), outputs, form: Form::Rows })
    }

    fn write_cost(&self, reply: &Reply) -> Cost {
        let bytes = if let Reply::Rows(rows) = reply { rows.bytes } else { 0 };
        if self.0.binary_output { Cost::Copy(bytes) } else { Cost::Text(bytes) }
    }

    fn write(&self, reply: Reply, _: Form, lane: &Lane) -> Response<Body> {
        self.answer(reply, lane).unwrap_or_else(|problem| OipRest::refuse(&problem))
    }

    fn refuse(problem: &Problem) -> Response<Body> {
        reply::problem(problem)
    }
}

impl OipRest {
    fn answer(&self, reply: Reply, lane: &Lane) -> Result<Response<Body>, Problem> {
        let Reply::Rows(rows) = reply else {
            return Err(Problem::new(Code::Streams, "the model streams its answer"));
        };
        let mut answer = InferResponse {
            model_name: lane.placement.model.model.to_string(),
            model_version: Some(lane.placement.version.0.to_string()),
            id: self.0.id.clone(),
            outputs: rows.answer.to_tensors(rows.range())?,
        };
        answer.select(&self.0.outputs)?;
        let (header_bytes, body) = answer.encode(&self.0.outputs, self.0.binary_output);
        let mut response = reply::json(StatusCode::OK, body);
        if let Some(header_bytes) = header_bytes {
            let headers = response.headers_mut();
            headers.insert(HEADER_LENGTH, HeaderValue::from(header_bytes));
            headers
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        }
        Ok(response)
    }
}

fn check_outputs(wanted: &[RequestedOutput], lane: &Lane) -> Result<(), Problem> {
    let known = lane.schema.promised();
    let unknown = |output: &&RequestedOutput| {
        !known.is_empty() && !known.iter().any(|column| column.name == output.name)
    };
    match wanted.iter().find(unknown) {
        None => Ok(()),
        Some(output) => {
            let names: Vec<&str> = known.iter().map(|column| column.name.as_str()).collect();
            Err(Problem::new(
                Code::NoSuchOutput,
                format!("{} has no output `{}`", lane.placement.model.model, output.name),
            )
            .help(format!("it has {}", names.join(", "))))
        }
    }
}

impl Gateway {
    /// Answers the paths below `/v2` that only read.
    pub(crate) fn describe(&self, path: &Path) -> Result<Response<Body>, Problem> {
        let snapshot = self.snapshot.load();
        let ok = |value: serde_json::Value| Ok(reply::json(StatusCode::OK, value.to_string()));
        match path {
            Path::Server => ok(json!({
                "name": "decalog",
                "version": env!("CARGO_PKG_VERSION"),
                "extensions": ["binary_tensor_data"],
            })),
            Path::Live => ok(json!({ "live": true })),
            Path::Ready => ok(json!({ "ready": true })),
            Path::ModelReady(reference) => {
                let lane = &snapshot.route(reference)?.lane;
                if lane.answers() {
                    return ok(json!({ "name": lane.placement.model.model, "ready": true }));
                }
                Err(Problem::new(Code::NoCapacity, format!("no replica of `{reference}` is ready"))
                    .help("try again"))
            }
            Path::Model(reference) | Path::Infer(reference) => {
                let lane = &snapshot.route(reference)?.lane;
                let model = &lane.placement.model;
                let versions: Vec<String> = snapshot
                    .versions(model)
                    .iter()
                    .map(|known| known.version.0.to_string())
                    .collect();
                ok(oip::metadata(model.model.as_str(), &versions, "decalog", &lane.schema))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let model = |text: &str| Some(Path::Infer(text.into()));
        assert_eq!(parse_path("/v2/models/churn/infer"), model("churn"));
        assert_eq!(parse_path("/v2/models/churn/versions/3/infer"), model("churn@v3"));
        assert_eq!(
            parse_path("/v2/models/team%2Fchurn%40staging/infer"),
            model("team/churn@staging")
        );
        assert_eq!(parse_path("/v2/models/team/churn@staging/infer"), model("team/churn@staging"));
        assert_eq!(parse_path("/v2/models/churn/ready"), Some(Path::ModelReady("churn".into())));
        assert_eq!(parse_path("/v2/"), Some(Path::Server));
        assert_eq!(parse_path("/v2/models/"), None);
        assert_eq!(parse_path("/v2/models/%zz/infer"), None);
    }

    #[test]
    fn whatever_a_path_is_it_is_routed_or_refused() {
        use crate::endpoints::{Endpoint, endpoint};
        let corpus = [
            "/v2",
            "/v2/health/ready",
            "/v2/models/churn/infer",
            "/v2/models/churn/versions/3/infer",
            "/v2/models/team%2Fchurn%40staging@v3/ready",
            "/v2/models/churn@0a1b2c3d4e5f",
            "/v2/models/%F0%9F%98%80%ff%00/infer",
            "/v1/models/team/churn@staging@v3/predict",
            "/v1/models/%2e%2e%2f/predict",
            "/v2/models/a/versions/18446744073709551616/infer",
        ];
        let snapshot = crate::route::Snapshot::default();
        let inputs = corpus.iter().map(|path| path.as_bytes().to_vec()).collect();
        testing::Corpus::of("paths", inputs).check(|bytes| {
            let Ok(path) = std::str::from_utf8(bytes) else { return };
            let reference = match endpoint(path) {
                Some(Endpoint::Predict(reference)) => reference,
                Some(Endpoint::OpenInference(
                    Path::Model(name) | Path::ModelReady(name) | Path::Infer(name),
                )) => name,
                _ => return,
            };
            let Err(problem) = snapshot.route(&reference) else { panic!("there are no routes") };
            assert!(problem.to_string().len() < 2_000, "{problem}");
            assert_eq!(reply::problem(&problem).status().as_u16() / 100, 4);
        });
    }
}
