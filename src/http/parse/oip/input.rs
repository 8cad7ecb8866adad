//! The input tensors of a request: in its JSON, or in the bytes behind it.

use bytes::Bytes;

use crate::domain::{Datatype, Kind, MediaLimits, Params, Problem};
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::tensor::{Builder, DIMS_MAX, Nest};
use crate::http::parse::json::{fault, strings};
use crate::http::parse::oip::json::{name, refused};
use crate::http::parse::oip::outputs::parameters;
use crate::http::parse::{clip, step};
use crate::oip::{Input, Values, check_shape};

const KEYS: &str = "name, shape, datatype, parameters and data, each at most once";

/// An input whose data was passed over: what it is may be said behind it.
pub struct Draft {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    params: Params,
    /// Where its data begins in the JSON.
    data: Option<usize>,
    pointer: String,
}

/// Reads one input of the list.
pub fn draft(reader: &mut Reader<'_>, pointer: &str) -> Result<Draft, Problem> {
    let (mut named, mut kind, mut sizes, mut params, mut data) = (None, None, None, None, None);
    reader.object(|reader, key| {
        let at = format!("{pointer}/{}", step(key));
        match key {
            "name" if named.is_none() => named = Some(name(reader, &at)?),
            "datatype" if kind.is_none() => kind = Some(datatype(reader, &at)?),
            "shape" if sizes.is_none() => sizes = Some(shape(reader, &at)?),
            "parameters" if params.is_none() => params = Some(parameters(reader, &at)?),
            "data" if data.is_none() => {
                // The first byte of the value.
                reader.next()?;
                data = Some(reader.place());
                reader.skip()?;
            }
            _ => return Err(refused(&at, key, KEYS)),
        }
        Ok(())
    })?;
    let missing = |key: &str| {
        fault(&format!("{pointer}/{key}"), key, "none", "an input has name, shape and datatype")
    };
    Ok(Draft {
        name: named.ok_or_else(|| missing("name"))?,
        datatype: kind.ok_or_else(|| missing("datatype"))?,
        shape: sizes.ok_or_else(|| missing("shape"))?,
        params: params.unwrap_or_default().finish(),
        data,
        pointer: pointer.to_owned(),
    })
}

fn datatype(reader: &mut Reader<'_>, pointer: &str) -> Result<Datatype, Problem> {
    let said = strings::plain(reader, pointer)?;
    Datatype::named(&said).ok_or_else(|| {
        let names: Vec<&str> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
        let got = format!("{:?}", clip(&said));
        fault(pointer, &format!("one of: {}", names.join(", ")), got, "write it in capitals")
    })
}

fn shape(reader: &mut Reader<'_>, pointer: &str) -> Result<Vec<i64>, Problem> {
    let expected = format!("a list of 1 to {DIMS_MAX} sizes, each 1 or more");
    let wrong = |got: String| fault(pointer, &expected, got, "the first size is the batch's");
    if reader.next()? != Next::List {
        return Err(wrong(reader.shown()?));
    }
    let mut sizes = Vec::with_capacity(DIMS_MAX);
    reader.list(|reader| {
        if sizes.len() == DIMS_MAX {
            return Err(wrong("more".to_owned()));
        }
        if reader.next()? != Next::Number {
            return Err(wrong(reader.shown()?));
        }
        let text = String::from_utf8_lossy(reader.number()?.text());
        sizes.push(text.parse::<i64>().map_err(|_| wrong(clip(&text)))?);
        Ok(())
    })?;
    Ok(sizes)
}

/// Reads the data of all inputs, from the JSON or, in their order, from the bytes behind it.
pub fn finish(
    drafts: Vec<Draft>,
    json: &Reader<'_>,
    mut binary: Bytes,
    limits: &MediaLimits,
) -> Result<Vec<Input>, Problem> {
    let inputs = drafts.into_iter().map(|draft| draft.finish(json, &mut binary, limits));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    if binary.is_empty() {
        return Ok(inputs);
    }
    let got = format!("{} bytes more than the inputs' binary_data_size", binary.len());
    let hint = "each input that is sent as bytes says how many in parameters.binary_data_size";
    Err(fault("/body", "the bytes of the inputs, and none behind them", got, hint))
}

impl Draft {
    fn finish(
        self,
        json: &Reader<'_>,
        binary: &mut Bytes,
        limits: &MediaLimits,
    ) -> Result<Input, Problem> {
        let shape =
            check_shape(&self.shape, self.datatype, limits, &format!("{}/shape", self.pointer))?;
        let mut reader = self.params.reader();
        let size = reader.integer("binary_data_size", 0..=u64::from(u32::MAX));
        let base64 = reader.choice("content_type", &["base64"]).is_some();
        reader.finish().map_err(without_shared_memory)?;
        let size = size.and_then(|size| usize::try_from(size).ok());
        let at = format!("{}/data", self.pointer);
        let head = (self.name, self.datatype, shape);
        match (self.data, size) {
            (None, Some(size)) => {
                let pointer = format!("{}/parameters/binary_data_size", self.pointer);
                if size > binary.len() {
                    let expected = format!("at most the {} bytes that are left", binary.len());
                    let hint = "the bytes of tensors follow the JSON, in the order of the inputs";
                    return Err(fault(&pointer, &expected, size.to_string(), hint));
                }
                Input::raw(head, binary.split_to(size), &pointer)
            }
            (Some(place), None) => {
                let mut reader = json.back_to(place);
                let values = values(&mut reader, head.1, &head.2, (&at, base64), limits)?;
                Input::of(head, values, &at)
            }
            (None, None) => {
                let hint = "send the values, or their bytes and parameters.binary_data_size";
                Err(fault(&at, "data", "none", hint))
            }
            (Some(_), Some(_)) => {
                let got = "data and binary_data_size";
                Err(fault(&at, "data in one place", got, "leave one of them out"))
            }
        }
    }
}

/// Shared memory is the one thing that clients try and do not find.
fn without_shared_memory(problem: Problem) -> Problem {
    let asked = problem.faults.iter().any(|fault| fault.got.starts_with("shared_memory"));
    if !asked {
        return problem;
    }
    let detail = "shared memory is not offered: send the tensor's bytes behind the JSON";
    Problem { detail: detail.to_owned(), ..Problem::new(Kind::Unsupported, detail) }
}

/// Values in JSON: one list, or lists in the order of `shape`.
fn values(
    reader: &mut Reader<'_>,
    datatype: Datatype,
    shape: &[usize],
    (pointer, base64): (&str, bool),
    limits: &MediaLimits,
) -> Result<Values, Problem> {
    if reader.next()? != Next::List {
        return Err(fault(pointer, "a list", reader.shown()?, "flat, or nested as shape says"));
    }
    let count = shape.iter().product();
    // More values than shape says are refused as they come.
    let mut nest = Nest::shaped(count, pointer);
    let values = match datatype {
        Datatype::Fp32 | Datatype::Fp64 => {
            let mut builder = Builder::new(limits, pointer, count);
            builder.value(reader)?;
            let tensor = builder.finish()?;
            nested(tensor.shape(), shape, pointer)?;
            return Ok(Values::Numbers(tensor.into_data()));
        }
        Datatype::Fp16 | Datatype::Bf16 => {
            let hint = "send FP32, or the tensor's bytes behind the JSON";
            return Err(fault(pointer, "bytes for this datatype", "JSON", hint));
        }
        Datatype::Bytes => {
            let mut elements = Vec::with_capacity(count.min(limits.items_max));
            nest.read(reader, &mut |reader, nest| {
                elements.push(element(reader, nest, base64)?);
                Ok(())
            })?;
            Values::Elements(elements)
        }
        Datatype::Bool => {
            let mut flags = Vec::with_capacity(count);
            nest.read(reader, &mut |reader, nest| match reader.next()? {
                Next::Boolean => {
                    flags.push(f32::from(u8::from(reader.boolean()?)));
                    Ok(())
                }
                _ => Err(nest.wrong("true or false", &reader.shown()?, "as BOOL has them")),
            })?;
            Values::Numbers(flags)
        }
        _ => {
            let mut numbers = Vec::with_capacity(count);
            nest.read(reader, &mut |reader, nest| {
                numbers.push(whole(reader, nest, datatype)?);
                Ok(())
            })?;
            Values::Numbers(numbers)
        }
    };
    nested(&nest.shape(), shape, pointer)?;
    Ok(values)
}

/// Lists in lists lie as `shape` says; one flat list may be of any shape.
fn nested(found: &[usize], shape: &[usize], pointer: &str) -> Result<(), Problem> {
    if found.len() == 1 || found == shape {
        return Ok(());
    }
    let expected = format!("lists as shape says, {shape:?}, or one flat list");
    Err(fault(pointer, &expected, format!("lists of {found:?}"), "make shape and data agree"))
}

fn element(reader: &mut Reader<'_>, nest: &Nest<'_>, base64: bool) -> Result<Bytes, Problem> {
    if reader.next()? != Next::String {
        return Err(nest.wrong("a string", &reader.shown()?, "BYTES are strings in JSON"));
    }
    let text = reader.string()?;
    if !base64 {
        return Ok(Bytes::from(text.into_owned()));
    }
    strings::decoded(&text)
        .ok_or_else(|| nest.wrong("base64", "another string", "base64 -w0 FILE writes it"))
}

fn whole(reader: &mut Reader<'_>, nest: &Nest<'_>, datatype: Datatype) -> Result<f32, Problem> {
    let (least, most) = datatype.whole().unwrap_or_default();
    let wrong = |got: &str| {
        let expected = format!("a whole number from {least} to {most}");
        nest.wrong(&expected, got, "or say another datatype")
    };
    if reader.next()? != Next::Number {
        return Err(wrong(&reader.shown()?));
    }
    let text = String::from_utf8_lossy(reader.number()?.text());
    let number = text.parse::<i128>().ok().filter(|number| (least..=most).contains(number));
    number.map(crate::oip::rounded).ok_or_else(|| wrong(&clip(&text)))
}
