//! An inference response: JSON, and behind it the bytes of the outputs that are wanted so.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::domain::{Card, Datatype, Kind, ModelName, Problem};
use crate::http::answer;
use crate::http::parse::oip::JSON_LENGTH;
use crate::oip::{Output, Receipt, Written};

#[derive(Serialize)]
struct Body<'a> {
    model_name: &'a ModelName,
    model_version: String,
    id: &'a str,
    parameters: Parameters<'a>,
    outputs: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct Bytes {
    binary_data_size: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Floats(&'a [f32]),
    Whole(&'a [u64]),
    Texts(&'a [String]),
}

impl<'a> From<&'a Written> for Data<'a> {
    fn from(values: &'a Written) -> Self {
        match values {
            Written::Floats(values) => Self::Floats(values),
            Written::Whole(values) => Self::Whole(values),
            Written::Texts(values) => Self::Texts(values),
        }
    }
}

/// The receipt, as parameters of the response.
struct Parameters<'a>(&'a Receipt);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("maas_digest", &self.0.digest)?;
        for (name, number) in self.0.numbers() {
            map.serialize_entry(name, &number)?;
        }
        map.end()
    }
}

/// Writes a response.
///
/// # Errors
/// [`Kind::Internal`] when the outputs are no JSON, which does not happen.
pub fn response(
    outputs: &[Output],
    card: &Card,
    id: &str,
    receipt: &Receipt,
) -> Result<Response, Problem> {
    let mut binary = Vec::new();
    let tensors = outputs.iter().map(|output| {
        let size = output.binary.then(|| {
            let bytes = output.bytes();
            binary.extend_from_slice(&bytes);
            bytes.len()
        });
        Tensor {
            name: &output.name,
            datatype: output.datatype(),
            shape: &output.shape,
            parameters: size.map(|binary_data_size| Bytes { binary_data_size }),
            data: (!output.binary).then(|| Data::from(&output.values)),
        }
    });
    let body = Body {
        model_name: &card.name,
        model_version: card.version.to_string(),
        id,
        parameters: Parameters(receipt),
        outputs: tensors.collect(),
    };
    let mut json = serde_json::to_vec(&body)
        .map_err(|_| Problem::new(Kind::Internal, "the model's answer is not usable"))?;
    let length = json.len();
    let any = outputs.iter().any(|output| output.binary);
    json.append(&mut binary);
    let media_type = if any { "application/octet-stream" } else { "application/json" };
    let mut response = ([(header::CONTENT_TYPE, media_type)], json).into_response();
    if any {
        let name = HeaderName::from_static(JSON_LENGTH);
        response.headers_mut().insert(name, HeaderValue::from(length));
    }
    answer::receipt(response.headers_mut(), card);
    Ok(response)
}
