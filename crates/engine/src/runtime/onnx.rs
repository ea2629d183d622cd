//! ONNX: a graph, run by ONNX Runtime within this very program.

use super::*;

/// Runs `decalog worker onnx`.
pub struct Onnx;

/// A classifier of handwritten digits.
const TEMPLATE: &[(&str, &[u8])] =
    &[("model.onnx", include_bytes!("../../../../examples/digits-onnx/model.onnx"))];

impl RuntimeKind for Onnx {
    fn owns(&self, _: &Path, file: &str) -> bool {
        file.ends_with(".onnx")
    }

    fn needs(&self) -> &'static str {
        "an .onnx file"
    }

    fn has_environment(&self, _: &Path) -> bool {
        false
    }

    fn needs_onnxruntime(&self) -> bool {
        true
    }

    fn warmest(&self) -> (Temperature, Option<&'static str>) {
        (Temperature::Cold, Some("runtime onnx does not fork"))
    }

    fn is_asked_in_company(&self) -> bool {
        true
    }

    fn program(
        &self,
        start: &Start,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<Vec<String>, EngineError> {
        variables.insert("ORT_DYLIB_PATH".into(), start.onnxruntime.map(text).unwrap_or_default());
        Ok(vec![text(&start.config.program), "worker".into(), "onnx".into()])
    }

    fn template(&self) -> &'static [(&'static str, &'static [u8])] {
        TEMPLATE
    }
}
