//! Keys that never leave the server: its transit engine wraps with them, and unwraps.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::Problem;
use serde_json::{Value, json};

use crate::{Answer, Vault, problem};

/// A key of the transit engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransitKey {
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name.
    pub name: String,
}

impl fmt::Display for TransitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.name)
    }
}

impl Vault {
    /// Wraps, with the newest version of the key.
    pub fn wrap(&self, key: &TransitKey, plain: &[&[u8]]) -> Result<Vec<String>, Problem> {
        let inputs: Vec<Value> =
            plain.iter().map(|plain| json!({ "plaintext": STANDARD.encode(plain) })).collect();
        let results = self.transit("encrypt", key, inputs)?;
        let wrapped = results.iter().map(|result| result["ciphertext"].as_str().map(String::from));
        wrapped.collect::<Option<Vec<String>>>().ok_or_else(|| not_understood(key))
    }

    /// Unwraps; `None` for what the key has not wrapped.
    pub fn unwrap(
        &self,
        key: &TransitKey,
        wrapped: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, Problem> {
        let inputs: Vec<Value> =
            wrapped.iter().map(|wrapped| json!({ "ciphertext": wrapped })).collect();
        let results = self.transit("decrypt", key, inputs)?;
        let plain = |result: &Value| STANDARD.decode(result["plaintext"].as_str()?).ok();
        Ok(results.iter().map(plain).collect())
    }

    fn transit(
        &self,
        verb: &str,
        key: &TransitKey,
        inputs: Vec<Value>,
    ) -> Result<Vec<Value>, Problem> {
        let count = inputs.len();
        if count == 0 {
            return Ok(vec![]);
        }
        let body = json!({ "batch_input": inputs });
        let answer = self.call(&[&key.mount, verb, &key.name], Some(&body))?;
        let Answer { status, body } = &answer;
        match body["data"]["batch_results"].as_array() {
            // 400 if one of them fails: the others are there.
            Some(results) if matches!(status, 200 | 400) && results.len() == count => {
                Ok(results.clone())
            }
            _ if *status == 200 => Err(not_understood(key)),
            _ => Err(self.refused(&format!("to {verb} with {key}"), &answer)),
        }
    }
}

fn not_understood(key: &TransitKey) -> Problem {
    problem(format!("the vault's answer about the key {key} is not understood"))
        .help("is its transit engine mounted there?")
}
