//! A sample as the one tensor that a package's signature says, and how protocols write it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::arch::{OpenError, section};
use crate::domain::{Datatype, MediaLimits, Problem, TensorSpec};
use crate::media::audio::{self, Wanted};
use crate::media::picture::Picture;
use crate::media::preprocessing::Preprocessing;
use crate::package::Manifest;

/// Why there is no tensor.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    #[error(transparent)]
    Preprocessing(#[from] OpenError),
    #[error("the sample cannot be made a tensor: {0}")]
    Sample(#[from] Problem),
    #[error(
        "the package takes {got}, and a tensor can be made for one input: FP32 of a picture or a waveform, or \
         BYTES of a text. --protocol predict sends the file itself, --body any body"
    )]
    Signature { got: String },
    #[error("the package takes text, and the sample is not UTF-8")]
    Text,
}

/// Parameters of a request to the Open Inference Protocol.
pub type Parameters = Map<String, Value>;

/// The tensor of a request.
#[derive(Debug)]
pub struct Input<'a> {
    spec: &'a TensorSpec,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Without a batch dimension.
    Floats {
        shape: Vec<usize>,
        data: Vec<f32>,
    },
    Text(String),
}

/// `sample` as the manifest's preprocessing makes it: what its network reads.
///
/// # Errors
/// [`TensorError`] when there is no such tensor.
pub fn input<'a>(manifest: &'a Manifest, sample: &[u8]) -> Result<Input<'a>, TensorError> {
    let specs = &manifest.inputs;
    let other = || {
        let of = |spec: &TensorSpec| format!("{:?} of shape {:?}", spec.datatype, spec.shape);
        TensorError::Signature { got: specs.iter().map(of).collect::<Vec<_>>().join(", ") }
    };
    let [spec] = specs.as_slice() else { return Err(other()) };
    let values = match (spec.datatype, spec.shape.len()) {
        (Datatype::Bytes, 1) => {
            let text = String::from_utf8(sample.to_vec()).map_err(|_| TensorError::Text)?;
            Values::Text(text)
        }
        (Datatype::Fp32, 3) => picture(manifest, sample)?,
        (Datatype::Fp32, 1) => waveform(manifest, sample)?.ok_or_else(other)?,
        _ => return Err(other()),
    };
    Ok(Input { spec, values })
}

fn picture(manifest: &Manifest, sample: &[u8]) -> Result<Values, TensorError> {
    let preprocessing: Preprocessing = section("preprocessing", &manifest.preprocessing)?;
    let picture = Picture::decode(sample, &MediaLimits::default(), "/body")?;
    let data = preprocessing.apply(&picture);
    Ok(Values::Floats { shape: preprocessing.shape().to_vec(), data })
}

/// Nothing where the manifest does not say its rate.
fn waveform(manifest: &Manifest, sample: &[u8]) -> Result<Option<Values>, TensorError> {
    let mel = manifest.preprocessing.get("mel");
    let rate = mel.and_then(|mel| mel.get("sample_rate")).and_then(toml::Value::as_integer);
    let Some(sample_rate) = rate.and_then(|rate| u32::try_from(rate).ok()) else {
        return Ok(None);
    };
    let wanted = Wanted { sample_rate, seconds_max: MediaLimits::default().audio_seconds_max };
    let data = audio::decode(sample.to_vec().into(), wanted, "/body")?;
    Ok(Some(Values::Floats { shape: vec![data.len()], data }))
}

/// Parameters as they are typed on a command line: what reads as a number, `true` or `false` is one.
pub fn parameters(pairs: &[(String, String)]) -> Parameters {
    let value = |text: &String| match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.clone()),
    };
    pairs.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

/// A body of `/v1/predict`.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Predict<'a> {
    Inputs { shape: &'a [usize], data: &'a [f32] },
    Text(&'a str),
}

/// A body of the Open Inference Protocol.
#[derive(Serialize)]
struct Oip<'a> {
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: &'a Parameters,
    inputs: [OipInput<'a>; 1],
}

#[derive(Serialize)]
struct OipInput<'a> {
    name: &'a str,
    shape: Vec<usize>,
    datatype: Datatype,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Floats(&'a [f32]),
    Texts([&'a str; 1]),
}

impl Input<'_> {
    #[must_use]
    pub fn to_predict(&self) -> Vec<u8> {
        json(&match &self.values {
            Values::Floats { shape, data } => Predict::Inputs { shape, data },
            Values::Text(text) => Predict::Text(text),
        })
    }

    #[must_use]
    pub fn to_oip(&self, parameters: &Parameters) -> Vec<u8> {
        let data = match &self.values {
            Values::Floats { data, .. } => Data::Floats(data),
            Values::Text(text) => Data::Texts([text]),
        };
        json(&Oip { parameters, inputs: [self.oip(Parameters::new(), Some(data))] })
    }

    /// The body, and how many of its bytes are JSON.
    #[must_use]
    pub fn to_oip_binary(&self, mut parameters: Parameters) -> (Vec<u8>, usize) {
        let tensor = self.values.to_bytes();
        parameters.insert("binary_data_output".to_owned(), true.into());
        let own = Map::from_iter([("binary_data_size".to_owned(), tensor.len().into())]);
        let mut body = json(&Oip { parameters: &parameters, inputs: [self.oip(own, None)] });
        let head = body.len();
        body.extend_from_slice(&tensor);
        (body, head)
    }

    /// Signatures are written without the batch dimension, requests with it.
    fn oip<'a>(&'a self, parameters: Parameters, data: Option<Data<'a>>) -> OipInput<'a> {
        let shape = match &self.values {
            Values::Floats { shape, .. } => [&[1], shape.as_slice()].concat(),
            Values::Text(_) => vec![1, 1],
        };
        let TensorSpec { name, datatype, .. } = self.spec;
        OipInput { name, shape, datatype: *datatype, parameters, data }
    }
}

impl Values {
    /// As the binary tensor extension has them: little-endian, a text with its length before it.
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Floats { data, .. } => {
                data.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
            Self::Text(text) => {
                // A sample that is read whole is far below 4 GiB.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                [&length.to_le_bytes(), text.as_bytes()].concat()
            }
        }
    }
}

/// What these bodies hold, numbers and texts, can always be written.
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
