//! Answers to messages.

use std::collections::HashMap;

use bytes::Bytes;

use crate::domain::Card;
use crate::grpc::pb::infer_parameter::ParameterChoice;
use crate::grpc::pb::model_infer_response::InferOutputTensor;
use crate::grpc::pb::{InferParameter, InferTensorContents, ModelInferResponse};
use crate::oip::{Output, Receipt, Written};

/// Says on a stream whether more comes for the same request.
pub const FINAL: &str = "triton_final_response";

/// A response without outputs.
pub fn empty(card: &Card, id: &str) -> ModelInferResponse {
    ModelInferResponse {
        model_name: card.name.to_string(),
        model_version: card.version.to_string(),
        id: id.to_owned(),
        ..ModelInferResponse::default()
    }
}

/// A response with its outputs and, where there is one, its receipt.
pub fn infer(
    outputs: Vec<Output>,
    card: &Card,
    id: &str,
    receipt: Option<&Receipt>,
) -> ModelInferResponse {
    let mut response = empty(card, id);
    response.parameters = receipt.map(parameters).unwrap_or_default();
    // All or none: a client reads one list or the other.
    let raw = outputs.iter().any(|output| output.binary);
    for output in outputs {
        let contents = if raw {
            response.raw_output_contents.push(Bytes::from(output.bytes()));
            None
        } else {
            Some(contents(&output.values))
        };
        response.outputs.push(InferOutputTensor {
            datatype: output.datatype().name().to_owned(),
            shape: output.shape.iter().map(|&size| size.try_into().unwrap_or(i64::MAX)).collect(),
            name: output.name,
            parameters: HashMap::new(),
            contents,
        });
    }
    response
}

/// A parameter of a response.
pub fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

fn parameters(receipt: &Receipt) -> HashMap<String, InferParameter> {
    let digest = parameter(ParameterChoice::StringParam(receipt.digest.clone()));
    let numbers = receipt.numbers().into_iter().map(|(name, number)| {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        (name.to_owned(), parameter(ParameterChoice::Int64Param(number)))
    });
    numbers.chain([("maas_digest".to_owned(), digest)]).collect()
}

fn contents(values: &Written) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match values {
        Written::Floats(values) => contents.fp32_contents.clone_from(values),
        Written::Whole(values) => contents.uint64_contents.clone_from(values),
        Written::Texts(texts) => {
            let texts = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes()));
            contents.bytes_contents = texts.collect();
        }
    }
    contents
}
