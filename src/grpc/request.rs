//! Messages to requests for inference.

use std::collections::HashMap;

use bytes::Bytes;

use crate::domain::{Datatype, Kind, MediaLimits, ParamValue, Params, Problem};
use crate::grpc::pb::infer_parameter::ParameterChoice;
use crate::grpc::pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::grpc::pb::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::oip::{
    Asked, InferRequest, Input, NAME_CHARS_MAX, TENSORS_MAX, Values, Wanted, check_shape, rounded,
};

const PARAMS_MAX: usize = 64;

/// Reads a message. Where its inputs are raw bytes, so are the answer's outputs.
///
/// # Errors
/// [`Problem`] with pointer, expected, got and hint.
pub fn infer(message: ModelInferRequest, limits: &MediaLimits) -> Result<InferRequest, Problem> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents, .. } = message;
    bounded("/inputs", inputs.len())?;
    bounded("/outputs", outputs.len())?;
    let raw = !raw_input_contents.is_empty();
    if raw && raw_input_contents.len() != inputs.len() {
        return Err(Problem::fault(
            Kind::InvalidInput,
            "/raw_input_contents",
            format!("{}, one for each input", inputs.len()),
            raw_input_contents.len().to_string(),
            "send all inputs as raw bytes, or none",
        ));
    }
    let mut bytes = raw_input_contents.into_iter();
    let inputs = inputs.into_iter().enumerate();
    let inputs = inputs.map(|(index, tensor)| input(index, tensor, bytes.next(), limits));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let outputs = outputs.into_iter().enumerate().map(|(index, output)| wanted(index, output));
    let asked = Asked { outputs: outputs.collect::<Result<_, _>>()?, binary: false };
    let params = params(parameters, "/parameters")?;
    let id = (!id.is_empty()).then_some(id);
    let mut request = InferRequest { id, inputs, asked, params };
    request.take_own()?;
    request.asked.binary |= raw;
    Ok(request)
}

/// How much there is to read in a message: what its tensors hold, or so.
pub fn bytes(message: &ModelInferRequest) -> usize {
    let raw: usize = message.raw_input_contents.iter().map(Bytes::len).sum();
    let contents = message.inputs.iter().filter_map(|input| input.contents.as_ref());
    let typed = contents.map(|all| {
        let small = all.bool_contents.len() + all.int_contents.len() + all.uint_contents.len();
        let large = all.int64_contents.len() + all.uint64_contents.len() + all.fp64_contents.len();
        let texts: usize = all.bytes_contents.iter().map(Bytes::len).sum();
        4 * (small + all.fp32_contents.len()) + 8 * large + texts
    });
    raw + typed.sum::<usize>()
}

fn bounded(pointer: &str, count: usize) -> Result<(), Problem> {
    if count <= TENSORS_MAX {
        return Ok(());
    }
    let expected = format!("at most {TENSORS_MAX} tensors");
    Err(Problem::fault(Kind::TooLarge, pointer, expected, count.to_string(), "send fewer"))
}

/// Parameters of a message.
pub fn params(message: HashMap<String, InferParameter>, pointer: &str) -> Result<Params, Problem> {
    if message.len() > PARAMS_MAX {
        let expected = format!("at most {PARAMS_MAX} parameters");
        let got = message.len().to_string();
        return Err(Problem::fault(Kind::TooLarge, pointer, expected, got, "leave some out"));
    }
    let mut params = Params::default();
    for (name, InferParameter { parameter_choice }) in message {
        let clipped: String = name.chars().take(80).collect();
        let at = format!("{pointer}/{clipped}");
        let value = parameter_choice.map(value);
        let Some(value) = value.filter(|_| (1..=NAME_CHARS_MAX).contains(&name.chars().count()))
        else {
            let expected = "a name, and a value of one of the types";
            let hint = "leave it out to get the default";
            return Err(Problem::fault(Kind::InvalidInput, at, expected, "none", hint));
        };
        params.insert(&name, value, at);
    }
    Ok(params)
}

#[expect(clippy::cast_precision_loss, reason = "every parameter that is read lies below 2^53")]
fn value(choice: ParameterChoice) -> ParamValue {
    match choice {
        ParameterChoice::BoolParam(flag) => ParamValue::Bool(flag),
        ParameterChoice::Int64Param(number) => ParamValue::Number(number as f64),
        ParameterChoice::Uint64Param(number) => ParamValue::Number(number as f64),
        ParameterChoice::DoubleParam(number) => ParamValue::Number(number),
        ParameterChoice::StringParam(text) => ParamValue::Text(text),
    }
}

fn wanted(index: usize, message: InferRequestedOutputTensor) -> Result<Wanted, Problem> {
    let params = params(message.parameters, &format!("/outputs/{index}/parameters"))?;
    let mut reader = params.reader();
    let classification = reader.integer("classification", 1..=1_000_000);
    let binary = reader.flag("binary_data");
    reader.finish()?;
    let classification = classification.and_then(|most| usize::try_from(most).ok());
    Ok(Wanted { name: message.name, classification, binary })
}

fn input(
    index: usize,
    message: InferInputTensor,
    raw: Option<Bytes>,
    limits: &MediaLimits,
) -> Result<Input, Problem> {
    let InferInputTensor { name, datatype, shape, parameters, contents } = message;
    let pointer = format!("/inputs/{index}");
    let at = |part: &str| format!("{pointer}/{part}");
    let Some(datatype) = Datatype::named(&datatype) else {
        let names: Vec<&str> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
        let expected = format!("one of: {}", names.join(", "));
        let got = format!("{:?}", datatype.chars().take(80).collect::<String>());
        let hint = "write it in capitals";
        return Err(Problem::fault(Kind::InvalidInput, at("datatype"), expected, got, hint));
    };
    let shape = check_shape(&shape, datatype, limits, &at("shape"))?;
    let params = params(parameters, &at("parameters"))?;
    let mut reader = params.reader();
    // KServe's client says it of raw bytes, as over HTTP.
    let said = reader.integer("binary_data_size", 0..=u64::from(u32::MAX));
    reader.finish().map_err(without_shared_memory)?;
    let size = raw.as_ref().map(|bytes| bytes.len() as u64);
    if said.is_some() && said != size {
        let expected = "the number of the input's raw bytes, or nothing";
        let pointer = at("parameters/binary_data_size");
        let got = said.unwrap_or_default().to_string();
        return Err(Problem::fault(Kind::InvalidInput, pointer, expected, got, "leave it out"));
    }
    let head = (name, datatype, shape);
    match (raw, contents) {
        (Some(_), Some(contents)) if contents != InferTensorContents::default() => {
            let expected = "nothing beside raw_input_contents";
            let hint = "leave one of them out";
            Err(Problem::fault(Kind::InvalidInput, at("contents"), expected, "contents", hint))
        }
        (Some(bytes), _) => Input::raw(head, bytes, &format!("/raw_input_contents/{index}")),
        (None, contents) => {
            let at = at("contents");
            let values = typed(datatype, contents.unwrap_or_default(), &at)?;
            Input::of(head, values, &at)
        }
    }
}

/// Shared memory is the one thing that clients try and do not find.
fn without_shared_memory(problem: Problem) -> Problem {
    if problem.faults.iter().any(|fault| fault.got.starts_with("shared_memory")) {
        let detail = "shared memory is not offered: send the tensor's bytes";
        return Problem::new(Kind::Unsupported, detail);
    }
    problem
}

/// The elements in the field of their datatype; any other must be empty.
fn typed(
    datatype: Datatype,
    mut contents: InferTensorContents,
    pointer: &str,
) -> Result<Values, Problem> {
    let all = &mut contents;
    let values = match datatype {
        Datatype::Bool => {
            let flags = std::mem::take(&mut all.bool_contents);
            Values::Numbers(flags.into_iter().map(|flag| f32::from(u8::from(flag))).collect())
        }
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            whole(std::mem::take(&mut all.int_contents), datatype, pointer)?
        }
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            whole(std::mem::take(&mut all.uint_contents), datatype, pointer)?
        }
        Datatype::Int64 => whole(std::mem::take(&mut all.int64_contents), datatype, pointer)?,
        Datatype::Uint64 => whole(std::mem::take(&mut all.uint64_contents), datatype, pointer)?,
        Datatype::Fp32 => Values::Numbers(std::mem::take(&mut all.fp32_contents)),
        Datatype::Fp64 => {
            let doubles = std::mem::take(&mut all.fp64_contents);
            let bytes: Vec<u8> = doubles.into_iter().flat_map(f64::to_le_bytes).collect();
            Values::Raw(Bytes::from(bytes))
        }
        Datatype::Bytes => Values::Elements(std::mem::take(&mut all.bytes_contents)),
        Datatype::Fp16 | Datatype::Bf16 => {
            let hint = "send it in raw_input_contents";
            let expected = "raw bytes for this datatype";
            return Err(Problem::fault(Kind::InvalidInput, pointer, expected, "contents", hint));
        }
    };
    if contents == InferTensorContents::default() {
        return Ok(values);
    }
    let expected = format!("elements in the field of {} alone", datatype.name());
    let hint = "8 and 16 bits ride in int_contents and uint_contents";
    Err(Problem::fault(Kind::InvalidInput, pointer, expected, "elements in another", hint))
}

fn whole<T: Into<i128> + Copy>(
    numbers: Vec<T>,
    datatype: Datatype,
    pointer: &str,
) -> Result<Values, Problem> {
    let (least, most) = datatype.whole().unwrap_or_default();
    let outside = |&number: &T| !(least..=most).contains(&number.into());
    if let Some(&number) = numbers.iter().find(|number| outside(number)) {
        let number: i128 = number.into();
        let expected = format!("whole numbers from {least} to {most}");
        let hint = "or say another datatype";
        let got = number.to_string();
        return Err(Problem::fault(Kind::InvalidInput, pointer, expected, got, hint));
    }
    Ok(Values::Numbers(numbers.into_iter().map(rounded).collect()))
}
