//! Requests made of a package's golden samples, or of files like them, in the protocol that a server speaks.

use std::fmt::Write;

use crate::arch::{OpenError, golden};
use crate::domain::{Datatype, Version};
use crate::load::shot::{Shot, ShotError};
use crate::load::tensor::{TensorError, input, parameters};
use crate::package::{Package, PackageError};

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// Of the Open Inference Protocol's binary tensor extension.
const JSON_BYTES: &str = "inference-header-content-length";

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /v1/predict/{model}`, the file itself as the body.
    Predict,
    /// The same with JSON: a text, or a tensor that the client has preprocessed.
    PredictJson,
    /// `POST /v2/models/{model}/infer` (Open Inference Protocol v2), the tensor as JSON.
    Oip,
    /// The same with the binary tensor extension.
    OipBinary,
}

/// What is asked, and how.
#[derive(Debug)]
pub struct Asked<'a> {
    pub protocol: Protocol,
    pub package: &'a Package,
    pub version: Option<Version>,
    /// What is wanted of the answer, such as `max_tokens`.
    pub parameters: &'a [(String, String)],
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Golden(#[from] OpenError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Shot(#[from] ShotError),
}

/// The inputs of a package's golden samples, in order.
///
/// # Errors
/// [`BodyError`] when the package lists none that can be read.
pub fn samples(package: &Package) -> Result<Vec<Vec<u8>>, BodyError> {
    let samples = golden::samples(package)?;
    samples.iter().map(|sample| Ok(package.file(&sample.input)?.to_vec())).collect()
}

/// A request of an encoded sample.
///
/// # Errors
/// [`BodyError`] when the sample cannot be made what the protocol sends.
pub fn shot(asked: &Asked<'_>, sample: &[u8]) -> Result<Shot, BodyError> {
    let (manifest, path) = (&asked.package.manifest, path(asked));
    let post = |content_type, body: Vec<u8>| Shot::post(&path, content_type, body.into());
    Ok(match asked.protocol {
        Protocol::Predict => post(file_type(asked.package), sample.to_vec())?,
        Protocol::PredictJson => post(JSON, input(manifest, sample)?.to_predict())?,
        Protocol::Oip => {
            post(JSON, input(manifest, sample)?.to_oip(&parameters(asked.parameters)))?
        }
        Protocol::OipBinary => {
            let tensor = input(manifest, sample)?;
            let (body, head) = tensor.to_oip_binary(parameters(asked.parameters));
            let mut shot = post(BINARY, body)?;
            shot.set(JSON_BYTES, &head.to_string())?;
            shot
        }
    })
}

/// What a file is said to be: text, or bytes that the model will know.
fn file_type(package: &Package) -> &'static str {
    let takes_text = package.manifest.inputs.iter().any(|spec| spec.datatype == Datatype::Bytes);
    if takes_text { TEXT } else { BINARY }
}

fn path(asked: &Asked<'_>) -> String {
    let name = &asked.package.manifest.name;
    let version = asked.version.map_or_else(String::new, |version| format!("/versions/{version}"));
    match asked.protocol {
        Protocol::Predict | Protocol::PredictJson => {
            let pair =
                |(name, value): &(String, String)| format!("{}={}", encoded(name), encoded(value));
            let pairs: Vec<String> = asked.parameters.iter().map(pair).collect();
            let query = if pairs.is_empty() { "" } else { "?" };
            format!("/v1/predict/{name}{version}{query}{}", pairs.join("&"))
        }
        Protocol::Oip | Protocol::OipBinary => format!("/v2/models/{name}{version}/infer"),
    }
}

/// Percent-encoding (RFC 3986, section 2): all but unreserved characters.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn package(name: &str) -> Package {
        Package::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)).unwrap()
    }

    fn asked(protocol: Protocol, name: &str, parameters: &[(&str, &str)]) -> Shot {
        let package = package(name);
        let owned = |&(k, v): &(&str, &str)| (k.to_owned(), v.to_owned());
        let parameters: Vec<_> = parameters.iter().map(owned).collect();
        let asked = Asked { protocol, package: &package, version: None, parameters: &parameters };
        shot(&asked, &samples(&package).unwrap()[0]).unwrap()
    }

    #[test]
    fn the_file_itself_is_a_body_of_predict() {
        let fashion = package("fashion/1");
        assert_eq!(samples(&fashion).unwrap().len(), 10);
        let shot = asked(Protocol::Predict, "fashion/1", &[]);
        assert_eq!(shot.uri, "/v1/predict/fashion");
        assert_eq!(shot.body, fashion.file("golden/top.png").unwrap());
        assert_eq!(shot.headers["content-type"], BINARY);
        let shot = asked(Protocol::Predict, "kjv/1", &[("max_tokens", "9"), ("stop", "a b&")]);
        assert_eq!(shot.uri, "/v1/predict/kjv?max_tokens=9&stop=a%20b%26");
        assert_eq!(shot.headers["content-type"], TEXT);
    }

    #[test]
    fn json_of_predict_is_a_tensor_or_a_text() {
        let json = |name| -> Value {
            serde_json::from_slice(&asked(Protocol::PredictJson, name, &[]).body).unwrap()
        };
        let picture = json("fashion/1");
        assert_eq!(picture["inputs"]["shape"], json!([1, 28, 28]));
        assert_eq!(picture["inputs"]["data"].as_array().unwrap().len(), 784);
        let line = String::from_utf8(package("kjv/1").file("golden/line.txt").unwrap().to_vec());
        assert_eq!(json("kjv/1"), json!({ "text": line.unwrap() }));
        let sound = json("digits/1");
        let length = sound["inputs"]["data"].as_array().unwrap().len();
        assert_eq!(sound["inputs"]["shape"], json!([length]));
        // 3.35 s at 16 kHz.
        assert_eq!(length, 53_627);
    }

    #[test]
    fn the_open_inference_protocol_has_a_batch_of_one() {
        let shot = asked(Protocol::Oip, "fashion/1", &[("top_k", "2")]);
        assert_eq!(shot.uri, "/v2/models/fashion/infer");
        let body: Value = serde_json::from_slice(&shot.body).unwrap();
        let input = &body["inputs"][0];
        assert_eq!((&input["name"], &input["datatype"]), (&json!("image"), &json!("FP32")));
        assert_eq!(input["shape"], json!([1, 1, 28, 28]));
        assert_eq!(body["parameters"], json!({ "top_k": 2 }));
        let text: Value = serde_json::from_slice(&asked(Protocol::Oip, "kjv/1", &[]).body).unwrap();
        assert_eq!(text["inputs"][0]["shape"], json!([1, 1]));
        assert!(text["inputs"][0]["data"][0].is_string());
    }

    #[test]
    fn binary_tensors_follow_the_json_in_little_endian() {
        let shot = asked(Protocol::OipBinary, "fashion/1", &[]);
        let head: usize = shot.headers[JSON_BYTES].to_str().unwrap().parse().unwrap();
        let json: Value = serde_json::from_slice(&shot.body[..head]).unwrap();
        let input = &json["inputs"][0];
        assert_eq!(input["parameters"], json!({ "binary_data_size": 784 * 4 }));
        assert_eq!(input.get("data"), None);
        assert_eq!(json["parameters"], json!({ "binary_data_output": true }));
        let plain: Value =
            serde_json::from_slice(&asked(Protocol::Oip, "fashion/1", &[]).body).unwrap();
        let data = plain["inputs"][0]["data"].clone();
        let floats: Vec<f32> = serde_json::from_value(data).unwrap();
        let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(shot.body[head..], bytes);
        let shot = asked(Protocol::OipBinary, "kjv/1", &[]);
        let head: usize = shot.headers[JSON_BYTES].to_str().unwrap().parse().unwrap();
        let line = package("kjv/1").file("golden/line.txt").unwrap().to_vec();
        let length = u32::try_from(line.len()).unwrap().to_le_bytes();
        assert_eq!(shot.body[head..], [&length[..], &line].concat());
    }
}
