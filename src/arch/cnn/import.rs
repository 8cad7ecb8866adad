//! Networks of pictures that others trained: the recipe lists the layers, and says which of the
//! checkpoint's tensors belong to each.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::names::Names;
use crate::arch::cnn::net::Head;
use crate::arch::cnn::samples::are_apart;
use crate::arch::cnn::serve::CnnNetwork;
use crate::arch::cnn::{LABELS_FILE, config, head, load, net, signature};
use crate::arch::pack::Signature;
use crate::arch::{
    Files, ImportError, ImportJob, ImportRecipe, ImportReport, OpenError, Taker, golden, section,
};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::compute::{Device, kernels};
use crate::domain::{Item, Params, Payload};
use crate::engine::{Codec, Network};
use crate::media::preprocessing::Preprocessing;
use crate::package::WEIGHTS_FILE;

/// How much of a score the next may be in a golden sample: a hundred times what processors differ by.
const APART: f32 = 0.99;

/// Packs the checkpoint's tensors under our names, with the answers to the samples.
pub fn import(job: &mut ImportJob) -> Result<ImportReport, ImportError> {
    let samples = job.samples()?;
    let checkpoint = job.source.checkpoint()?;
    let (weights, signature, head) = take(&job.recipe, checkpoint)?;
    let mut files = Files::from([(WEIGHTS_FILE.to_owned(), weights)]);
    if head == Head::Softmax {
        files.insert(LABELS_FILE.to_owned(), labels(job)?);
    } else if job.labels.is_some() {
        let reason = "an image-regression has no classes: leave the labels out".to_owned();
        return Err(OpenError::Config { section: "labels", reason }.into());
    }
    let package = job.package(signature, files)?;
    let (network, codec) = load(&package, &Device::Cpu, kernels::best())?;
    job.write(package, "image", samples, |bytes| answer(&network, &codec, bytes))
}

/// The network's tensors, and what it reads and gives.
fn take(
    recipe: &ImportRecipe,
    checkpoint: Checkpoint,
) -> Result<(Vec<u8>, Signature, Head), ImportError> {
    let head = head(&recipe.task)?;
    let layers = config::parse(&recipe.architecture.config)?;
    let preprocessing: Preprocessing = section("preprocessing", &recipe.preprocessing)?;
    let names: Names = section("tensors", &recipe.tensors)?;
    let name = |ours: &str| names.theirs(ours);
    let mut taker = Taker::new(checkpoint, &name);
    let cnn = net::build(&layers, preprocessing.shape(), &mut taker)?;
    let (input, output) = signature(head, preprocessing.shape(), cnn.outputs());
    let weights = taker.finish(is_counter)?;
    Ok((weights, Signature { inputs: vec![input], outputs: vec![output] }, head))
}

/// `PyTorch`'s batch normalisation counts the batches that it was trained on. No network computes with the
/// count, so it is left out and nothing is said of it; it is the only tensor that is.
fn is_counter(name: &str, tensor: &Tensor) -> bool {
    name.ends_with(".num_batches_tracked")
        && tensor.dtype().is_integer()
        && tensor.shape().is_empty()
}

/// A file of labels: one a line, a JSON list, or a JSON object by the index of the output.
#[derive(Deserialize)]
#[serde(untagged)]
enum Labels {
    List(Vec<String>),
    ByIndex(BTreeMap<String, String>),
}

/// labels.txt. How many there must be is checked when the package is opened.
fn labels(job: &mut ImportJob) -> Result<Vec<u8>, ImportError> {
    let refuse = |path: &str, expected: &str, got: String| ImportError::File {
        path: path.to_owned(),
        expected: expected.to_owned(),
        got,
    };
    let path = job.labels.clone().ok_or_else(|| {
        let expected = "a file with the names of the classes: give one with --labels";
        refuse("labels", expected, "none".to_owned())
    })?;
    let bytes = job.source.other(&path)?;
    let path = path.display().to_string();
    let expected = "UTF-8: a label a line, or a JSON list, or an object of labels by index";
    let text =
        std::str::from_utf8(&bytes).map_err(|_| refuse(&path, expected, "other bytes".into()))?;
    let labels = match serde_json::from_str::<Labels>(text) {
        Ok(Labels::List(labels)) => labels,
        Ok(Labels::ByIndex(labels)) => (0..labels.len())
            .map(|index| labels.get(&index.to_string()).cloned().ok_or(index))
            .collect::<Result<_, _>>()
            .map_err(|index| refuse(&path, expected, format!("an object without {index}")))?,
        Err(_) if text.trim_start().starts_with(['{', '[']) => {
            return Err(refuse(&path, expected, "other JSON".to_owned()));
        }
        Err(_) => text.lines().map(str::to_owned).collect(),
    };
    if let Some(label) = labels.iter().find(|label| label.contains(['\n', '\r'])) {
        return Err(refuse(&path, "labels of one line each", format!("{label:?}")));
    }
    Ok((labels.join("\n") + "\n").into_bytes())
}

/// The answer to a picture, when no other processor can put its classes in another order.
fn answer(network: &CnnNetwork, codec: &CnnCodec, bytes: Bytes) -> Result<Value, String> {
    let payload = Payload::single(Item::Image(bytes), "/body");
    let answer = golden::answer(network, codec, payload.clone())?;
    if codec.head == Head::Softmax {
        let (samples, _) =
            codec.decode(payload, &Params::default()).map_err(|error| error.to_string())?;
        let batch: Vec<&Vec<f32>> = samples.iter().collect();
        let scores = network.run(&batch).map_err(|error| error.to_string())?;
        if !scores.iter().all(|scores| are_apart(scores, APART)) {
            let reason = "two of the scores that an answer shows, or the next, are nearly the same, so \
                          that another processor might order them otherwise: take another picture";
            return Err(reason.to_owned());
        }
    }
    Ok(answer)
}
