//! Which temperatures a runtime supports.

use domain::launch::Temperature;
use domain::manifest::Runtime;

/// The warmest that replicas of a runtime can be started, and why not warmer. All colder levels are there as well.
pub fn warmest(runtime: Runtime) -> (Temperature, Option<&'static str>) {
    match runtime {
        Runtime::Python => (Temperature::Warm, None),
        Runtime::Onnx => (Temperature::Cold, Some("runtime onnx does not fork")),
        Runtime::Command => (Temperature::Cold, Some("runtime command does not fork")),
    }
}
