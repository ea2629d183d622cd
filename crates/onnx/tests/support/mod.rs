//! What the tests share: the library, the graphs, tensors.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use domain::{Datatype, Problem};
use onnx::{Graph, Settings};
use protocol::Tensor;
use protocol::oip::InferRequest;
use protocol::tensor::push_byte_element;

/// ONNX Runtime's shared library.
pub fn library() -> PathBuf {
    let path = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from).filter(|path| path.is_file());
    path.unwrap_or_else(|| {
        panic!("set ORT_DYLIB_PATH to libonnxruntime.so.*: pip install --target DIR onnxruntime; it is in DIR/onnxruntime/capi")
    })
}

pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

pub fn load_with(path: &Path, concurrency: u32, section: Option<&str>) -> Result<Graph, Problem> {
    // There is one environment per process.
    static ENVIRONMENT: OnceLock<ort::environment::Environment> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| onnx::environment(&library()).unwrap());
    Graph::load(environment, path, Settings { threads: 1, concurrency }, section)
}

pub fn load(name: &str) -> Graph {
    load_with(&file(name), 1, None).unwrap()
}

pub fn tensor(name: &str, datatype: Datatype, shape: &[usize], data: impl Into<Vec<u8>>) -> Tensor {
    let tensor =
        Tensor { name: name.into(), datatype, shape: shape.to_vec(), data: data.into().into() };
    tensor.check().unwrap();
    tensor
}

pub fn floats(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    tensor(
        name,
        Datatype::Fp32,
        shape,
        values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>(),
    )
}

pub fn texts(name: &str, shape: &[usize], values: &[&str]) -> Tensor {
    let mut data = vec![];
    values.iter().for_each(|value| push_byte_element(&mut data, value.as_bytes()));
    tensor(name, Datatype::Bytes, shape, data)
}

pub fn request(inputs: Vec<Tensor>) -> InferRequest {
    InferRequest { inputs, ..InferRequest::default() }
}

pub fn read_floats(tensor: &Tensor) -> Vec<f32> {
    assert_eq!(tensor.datatype, Datatype::Fp32);
    tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

pub fn read_texts(tensor: &Tensor) -> Vec<String> {
    protocol::tensor::byte_elements(&tensor.data)
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        .collect()
}
