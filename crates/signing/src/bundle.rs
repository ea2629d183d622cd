//! The bundle that `model.sig` holds: which key signed, and the envelope with what it signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{Digest, Tree};
use serde::Deserialize;
use serde_json::json;

use crate::{PrivateKey, PublicKey, SIGNATURE_BYTES_MAX, SigningError, Statement};

/// Of bundles, as the tools write them.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Of what the envelope holds.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<KeyHint>,
}

#[derive(Deserialize)]
struct KeyHint {
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// A signature that was read, and not yet checked.
pub struct Bundle {
    /// The key that it names; none if it was made with a certificate or an identity, or by an old
    /// tool.
    pub key: Option<Digest>,
    /// What it says.
    pub statement: Statement,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// What is signed of a payload: the pre-authentication encoding of DSSE.
fn encoded(payload: &[u8]) -> Vec<u8> {
    let begin = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [begin.as_bytes(), payload].concat()
}

fn malformed(reason: impl Into<String>) -> SigningError {
    SigningError::Malformed(reason.into())
}

impl Bundle {
    /// Reads the content of a `model.sig`.
    pub fn read(content: &[u8]) -> Result<Bundle, SigningError> {
        if content.len() > SIGNATURE_BYTES_MAX {
            return Err(SigningError::TooLong);
        }
        let text: Text = serde_json::from_slice(content)
            .map_err(|error| malformed(format!("it is no bundle of Sigstore: {error}")))?;
        if text.media_type != MEDIA_TYPE {
            let found = domain::problem::excerpt(&text.media_type);
            return Err(SigningError::Unsupported(format!("it is a {found}, not a {MEDIA_TYPE}")));
        }
        let Envelope { payload, payload_type, signatures } = text.dsse_envelope;
        if payload_type != PAYLOAD_TYPE {
            let found = domain::problem::excerpt(&payload_type);
            return Err(malformed(format!("it signs a {found}, not a {PAYLOAD_TYPE}")));
        }
        let [signature] = signatures.as_slice() else {
            return Err(malformed("it has more than one signature, or none"));
        };
        let decoded = |text: &str, what: &str| {
            STANDARD.decode(text).map_err(|_| malformed(format!("its {what} is not base64")))
        };
        let payload = decoded(&payload, "payload")?;
        let signature = decoded(&signature.sig, "signature")?;
        let hint = text.verification_material.public_key.and_then(|key| key.hint);
        let key = hint.filter(|hint| !hint.is_empty()).map(|hint| {
            hint.parse().map_err(|_| malformed("the key that it names is not a SHA-256"))
        });
        let statement = Statement::read(&payload)?;
        Ok(Bundle { key: key.transpose()?, statement, signed: encoded(&payload), signature })
    }

    /// Whether it was made with this key. Fails if it names the key, and was not.
    pub fn is_by(&self, key: &PublicKey) -> Result<bool, SigningError> {
        let id = key.id();
        if self.key.is_some_and(|named| named != id) {
            return Ok(false);
        }
        match key.verifies(&self.signed, &self.signature) {
            true => Ok(true),
            false if self.key.is_some() => Err(SigningError::Forged(id)),
            false => Ok(false),
        }
    }
}

/// Signs a tree: the content of its `model.sig`. `name` is what its directory is called, and
/// `ignored` are the paths in that directory which are not in the tree: tools that check the
/// signature there pass over them.
pub fn sign(
    key: &PrivateKey,
    name: &str,
    tree: &Tree,
    ignored: &[String],
) -> Result<Vec<u8>, SigningError> {
    let payload = Statement::payload(name, tree, ignored)?;
    let signature = key.sign(&encoded(&payload))?;
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": { "hint": key.public().id() },
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature), "keyid": "" }],
        },
    });
    let content = bundle.to_string().into_bytes();
    if content.len() > SIGNATURE_BYTES_MAX {
        return Err(SigningError::TooLong);
    }
    Ok(content)
}
