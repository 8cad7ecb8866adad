//! Messages as prost has them, whose parts are counted before any of them is made: two bytes of a message may be
//! hundreds in memory.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::domain::{Kind, Problem};
use crate::grpc::gate::no_message;
use crate::grpc::pb;
use crate::grpc::status::status;
use crate::grpc::wire::{Content, Fields};
use crate::oip::{DIMS_MAX, TENSORS_MAX};

/// Of a message that holds no tensors.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// Of all tensors and the request together.
const PARAMETERS_MAX: usize = 1024;
/// Elements of `BYTES` in a message; how many a model takes is asked later.
const ELEMENTS_MAX: usize = 1 << 16;

/// The codec of the inference service.
pub struct Counting<T, U>(PhantomData<(T, U)>);

/// Decodes what was counted.
pub struct CountingDecoder<U>(ProstDecoder<U>);

impl<T, U> Default for Counting<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Counting<T, U>
where
    T: Message + Send + 'static,
    U: Counted + Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountingDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountingDecoder(ProstDecoder::default())
    }
}

impl<U: Counted + Message + Default> Decoder for CountingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // A message lies in one piece.
        U::count(bytes::Buf::chunk(buffer)).map_err(|problem| status(&problem))?;
        self.0.decode(buffer)
    }
}

/// A message that a caller may send.
pub trait Counted {
    /// # Errors
    /// [`Kind::TooLarge`] when it has more parts than any request may have, [`Kind::InvalidInput`] when it is no
    /// message at all.
    fn count(message: &[u8]) -> Result<(), Problem> {
        if message.len() <= SMALL_BYTES_MAX {
            return Ok(());
        }
        let got = format!("{} bytes", message.len());
        let expected = format!("at most {SMALL_BYTES_MAX} bytes");
        Err(Problem::fault(
            Kind::TooLarge,
            "/message",
            expected,
            got,
            "send what the method asks for",
        ))
    }
}

macro_rules! small {
    ($($message:ident)*) => { $(impl Counted for pb::$message {})* };
}

small! {
    ServerLiveRequest ServerReadyRequest ModelReadyRequest ServerMetadataRequest ModelMetadataRequest
    ModelConfigRequest ModelStatisticsRequest RepositoryIndexRequest RepositoryModelLoadRequest
    RepositoryModelUnloadRequest LogSettingsRequest
}

impl Counted for pb::ModelInferRequest {
    fn count(message: &[u8]) -> Result<(), Problem> {
        Parts::default().request(message)
    }
}

/// What takes room of its own in a request for inference.
#[derive(Default)]
struct Parts {
    inputs: usize,
    outputs: usize,
    raw: usize,
    parameters: usize,
    sizes: usize,
    elements: usize,
    /// Bytes that are no tensor's: names, and fields that nobody knows.
    others: usize,
}

impl Parts {
    /// The numbers are those of `inference.proto`.
    fn request(mut self, message: &[u8]) -> Result<(), Problem> {
        for field in Fields::of(message) {
            match field.ok_or_else(no_message)? {
                (4, parameter) => self.parameter(&parameter),
                (5, Content::Bytes(input)) => {
                    self.inputs += 1;
                    self.input(input)?;
                }
                (6, Content::Bytes(output)) => {
                    self.outputs += 1;
                    self.others += output.len();
                    self.output(output)?;
                }
                (7, _) => self.raw += 1,
                (_, other) => self.others += other.len(),
            }
            self.check()?;
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &Content<'_>) {
        self.parameters += 1;
        self.others += parameter.len();
    }

    fn input(&mut self, message: &[u8]) -> Result<(), Problem> {
        for field in Fields::of(message) {
            match field.ok_or_else(no_message)? {
                // A list of numbers may come in one piece or one by one.
                (3, Content::Bytes(packed)) => self.sizes += packed.len(),
                (3, Content::Number) => self.sizes += 1,
                (4, parameter) => self.parameter(&parameter),
                (5, Content::Bytes(contents)) => self.contents(contents)?,
                (_, other) => self.others += other.len(),
            }
            self.check()?;
        }
        Ok(())
    }

    fn output(&mut self, message: &[u8]) -> Result<(), Problem> {
        for field in Fields::of(message) {
            if let (2, _) = field.ok_or_else(no_message)? {
                self.parameters += 1;
                self.check()?;
            }
        }
        Ok(())
    }

    fn contents(&mut self, message: &[u8]) -> Result<(), Problem> {
        for field in Fields::of(message) {
            match field.ok_or_else(no_message)? {
                (1..=7, _) => {}
                (8, _) => self.elements += 1,
                (_, other) => self.others += other.len(),
            }
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        // A size that is negative takes ten bytes, and is refused by name later.
        let sizes_max = 10 * DIMS_MAX * TENSORS_MAX;
        for (count, most, pointer, what) in [
            (self.inputs, TENSORS_MAX, "/inputs", "tensors"),
            (self.outputs, TENSORS_MAX, "/outputs", "tensors"),
            (self.raw, TENSORS_MAX, "/raw_input_contents", "tensors"),
            (self.parameters, PARAMETERS_MAX, "/parameters", "parameters in a message"),
            (self.sizes, sizes_max, "/inputs", "bytes of shapes in a message"),
            (self.elements, ELEMENTS_MAX, "/inputs", "elements of BYTES in a message"),
            (self.others, SMALL_BYTES_MAX, "/message", "bytes beside the tensors"),
        ] {
            if count > most {
                let expected = format!("at most {most} {what}");
                return Err(Problem::fault(
                    Kind::TooLarge,
                    pointer,
                    expected,
                    "more",
                    "send fewer",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::pb::model_infer_request::InferInputTensor;
    use crate::grpc::pb::{InferTensorContents, ModelInferRequest};

    fn counted(message: &ModelInferRequest) -> Result<(), Kind> {
        ModelInferRequest::count(&message.encode_to_vec()).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_request_as_large_as_any_may_be_is_counted_through() {
        let contents = InferTensorContents {
            fp32_contents: vec![0.5; 150_528],
            int64_contents: vec![-1; 1000],
            bytes_contents: vec![vec![b'a'; 10].into(); 256],
            ..InferTensorContents::default()
        };
        let input = InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![-1; DIMS_MAX],
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        let message = ModelInferRequest {
            model_name: "fashion".into(),
            inputs: vec![input; 8],
            raw_input_contents: vec![vec![0; 1000].into(); TENSORS_MAX],
            ..ModelInferRequest::default()
        };
        assert_eq!(counted(&message), Ok(()));
    }

    #[test]
    fn many_parts_are_refused_before_they_are_made() {
        // Two bytes each: an empty input, an empty output, empty raw bytes.
        for part in [[0x2a, 0], [0x32, 0], [0x3a, 0]] {
            let most = part.repeat(TENSORS_MAX);
            assert!(ModelInferRequest::count(&most).is_ok());
            let more = part.repeat(TENSORS_MAX + 1);
            assert_eq!(ModelInferRequest::count(&more).unwrap_err().kind, Kind::TooLarge);
        }
        let contents = InferTensorContents {
            bytes_contents: vec![bytes::Bytes::new(); ELEMENTS_MAX + 1],
            ..Default::default()
        };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let message = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert_eq!(counted(&message), Err(Kind::TooLarge));
        // A name, a parameter, and a field that nobody knows.
        let long = [&[0x80, 0x80, 0x40][..], &vec![b'a'; 1 << 20]].concat();
        for key in [&[0x0a][..], &[0x22], &[0xa2, 0x06]] {
            let message = [key, &long].concat();
            assert_eq!(ModelInferRequest::count(&message).unwrap_err().kind, Kind::TooLarge);
        }
        assert_eq!(
            pb::LogSettingsRequest::count(&vec![0; SMALL_BYTES_MAX + 1]).unwrap_err().kind,
            Kind::TooLarge
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        // A length behind the end, a group, a number without an end, a field without a number.
        for bytes in [&[0x2a, 9][..], &[0x2b, 0x2c], &[0x08, 0xff], &[0x00, 0x00]] {
            assert_eq!(
                ModelInferRequest::count(bytes).unwrap_err().kind,
                Kind::InvalidInput,
                "{bytes:?}"
            );
        }
    }
}
