//! Shapes of what is read from bodies by hand, and of what is written without a type of its own.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain;
use crate::oip::ModelStatistics;

/// RFC 9457.
#[derive(Serialize, ToSchema)]
pub struct ProblemDocument {
    r#type: String,
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    detail: String,
    instance: String,
    #[schema(required = false)]
    errors: Vec<Fault>,
    /// A command that works for the model.
    #[schema(required = false)]
    example: String,
}

/// One thing to mend.
#[derive(Serialize, ToSchema)]
pub struct Fault {
    /// A JSON pointer.
    pointer: String,
    expected: String,
    got: String,
    hint: String,
}

#[derive(Serialize, ToSchema)]
pub struct InferenceError {
    error: String,
}

#[derive(Serialize, ToSchema)]
pub struct OpenAiFailure {
    error: OpenAiError,
}

#[derive(Serialize, ToSchema)]
pub struct OpenAiError {
    message: String,
    r#type: String,
    #[schema(required)]
    param: Option<String>,
    #[schema(required)]
    code: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct TorchServeError {
    #[schema(minimum = 400, maximum = 599)]
    code: u16,
    r#type: String,
    message: String,
}

/// An object.
#[derive(Serialize, ToSchema)]
pub struct AnyObject(HashMap<String, serde_json::Value>);

/// Labels with their probabilities, or numbers.
#[derive(Serialize, ToSchema)]
pub struct Anything(serde_json::Value);

/// One of `inputs`, `instances`, `image`, `text` and `audio`; the model where the path does not name it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionRequest {
    #[schema(required = false)]
    model: String,
    #[schema(required = false)]
    inputs: serde_json::Value,
    #[schema(required = false, min_items = 1)]
    instances: Vec<serde_json::Value>,
    #[schema(required = false)]
    image: serde_json::Value,
    #[schema(required = false)]
    text: serde_json::Value,
    #[schema(required = false)]
    audio: serde_json::Value,
    #[schema(required = false)]
    parameters: HashMap<String, Parameter>,
}

/// A string, a number, true, false, a list of strings, or an object of numbers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "named in the document alone")]
pub enum Parameter {
    Text(String),
    Number(f64),
    Flag(bool),
    Texts(Vec<String>),
    Numbers(HashMap<String, f64>),
}

/// The outcome, beside its receipt.
#[derive(Serialize, ToSchema)]
pub struct Prediction {
    id: String,
    model: String,
    #[schema(minimum = 1)]
    version: u32,
    /// SHA-256 of the package that answered.
    digest: String,
    timing: Timing,
    /// 0 where nothing had to be run.
    batch_rows: usize,
}

/// Where the time went, in milliseconds.
#[derive(Serialize, ToSchema)]
pub struct Timing {
    queue: f64,
    pre: f64,
    infer: f64,
    post: f64,
}

#[derive(Serialize, ToSchema)]
pub struct ServerMetadata {
    name: String,
    version: String,
    extensions: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Live {
    live: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
    live: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ModelNames {
    models: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ModelReady {
    name: String,
    ready: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Statistics {
    model_stats: Vec<ModelStatistics>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InferenceRequest {
    #[schema(required = false, min_length = 1, max_length = 256)]
    id: String,
    /// The model's, and `priority`, `timeout` and `binary_data_output`.
    #[schema(required = false)]
    parameters: HashMap<String, Parameter>,
    #[schema(min_items = 1, max_items = 64)]
    inputs: Vec<InputTensor>,
    #[schema(required = false, max_items = 64)]
    outputs: Vec<RequestedOutput>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InputTensor {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    datatype: Datatype,
    #[schema(value_type = Vec<u32>, min_items = 1, max_items = 8)]
    shape: Vec<u32>,
    #[schema(required = false)]
    parameters: HashMap<String, Parameter>,
    /// Flat, or nested as `shape` says.
    #[schema(required = false)]
    data: Vec<serde_json::Value>,
}

/// The name of a type of elements.
#[derive(Serialize)]
pub struct Datatype;

impl PartialSchema for Datatype {
    fn schema() -> RefOr<Schema> {
        let names = domain::Datatype::ALL.map(domain::Datatype::name);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for Datatype {}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestedOutput {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    #[schema(required = false)]
    parameters: OutputParameters,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputParameters {
    /// As the best so many, with their labels.
    #[schema(required = false, minimum = 1, maximum = 1_000_000)]
    classification: u32,
    #[schema(required = false)]
    binary_data: bool,
}

#[derive(Serialize, ToSchema)]
pub struct InferenceResponse {
    model_name: String,
    model_version: String,
    id: String,
    /// The receipt.
    parameters: HashMap<String, Parameter>,
    outputs: Vec<OutputTensor>,
}

#[derive(Serialize, ToSchema)]
pub struct OutputTensor {
    name: String,
    datatype: Datatype,
    shape: Vec<u64>,
    #[schema(required = false)]
    parameters: HashMap<String, Parameter>,
    #[schema(required = false)]
    data: Vec<serde_json::Value>,
}

/// Parameters may stand beside the text, too.
#[derive(Serialize, ToSchema)]
pub struct GenerateRequest {
    #[schema(required = false, min_length = 1, max_length = 256)]
    id: String,
    text_input: String,
    #[schema(required = false)]
    parameters: HashMap<String, Parameter>,
}

#[derive(Serialize, ToSchema)]
pub struct GenerateResponse {
    id: String,
    model_name: String,
    model_version: String,
    text_output: String,
    #[schema(value_type = Object)]
    details: serde_json::Value,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexRequest {
    /// Only what serves.
    #[schema(required = false)]
    ready: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    #[schema(required = false)]
    parameters: LoadParameters,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadParameters {
    /// All versions in the stores, where it is left out.
    #[schema(required = false, minimum = 1, maximum = 999_999_999)]
    version: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnloadRequest {
    #[schema(required = false)]
    parameters: UnloadParameters,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnloadParameters {
    #[schema(required = false)]
    unload_dependents: bool,
}

#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "as clients read them")]
pub struct Levels {
    log_info: bool,
    log_warning: bool,
    log_error: bool,
    #[schema(maximum = 2)]
    log_verbose_level: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "as clients send them")]
pub struct LevelsRequest {
    #[schema(required = false)]
    log_info: bool,
    #[schema(required = false)]
    log_warning: bool,
    #[schema(required = false)]
    log_error: bool,
    #[schema(required = false, maximum = 2)]
    log_verbose_level: u64,
}

#[derive(Serialize, ToSchema)]
pub struct Ping {
    status: String,
}

#[derive(Serialize, ToSchema)]
pub struct TorchServeModels {
    #[schema(value_type = Vec<Object>)]
    models: Vec<serde_json::Value>,
}
