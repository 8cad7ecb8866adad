//! Convolutional networks on pictures: classification and regression.

mod augment;
mod codec;
mod config;
mod data;
mod evaluate;
mod import;
mod names;
mod net;
mod plan;
mod samples;
mod serve;
mod train;

use crate::arch::{Architecture, OpenContext, OpenError, Timed, golden, measure, section};
use crate::compute::kernels::Level;
use crate::compute::{Device, Loader};
use crate::domain::{Datatype, Item, MediaLimits, TensorSpec};
use crate::engine::Endpoint;
use crate::media::preprocessing::Preprocessing;
use crate::package::{Manifest, Package, WEIGHTS_FILE};

use codec::CnnCodec;
use net::{Graph, Head};
use serve::CnnNetwork;

/// Names of the classes, one a line, in the order of the outputs.
const LABELS_FILE: &str = "labels.txt";

pub const ARCHITECTURE: Architecture = Architecture {
    name: "cnn",
    open,
    train: train::train,
    evaluate: evaluate::evaluate,
    measure,
    import: Some(import::import),
};

fn open(package: &mut Package, context: &OpenContext<'_>) -> Result<Box<dyn Endpoint>, OpenError> {
    let weights = package.take(WEIGHTS_FILE)?.into_words();
    let loader = Loader::owning(weights, context.device)?;
    let (network, mut codec) = build(package, loader, context.device, context.level)?;
    golden::check(package, &network, &codec)?;
    codec.media = context.media;
    Ok(context.one_shot(package, network, codec))
}

fn measure(
    package: &Package,
    context: &OpenContext<'_>,
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let (network, mut codec) = load(package, context.device, context.level)?;
    codec.media = context.media;
    measure::one_shot(package, (network, codec), input)
}

/// The network and the codec of a package, not yet checked against its golden samples.
fn load(
    package: &Package,
    device: &Device,
    level: Level,
) -> Result<(CnnNetwork, CnnCodec), OpenError> {
    build(package, Loader::new(package.file(WEIGHTS_FILE)?, device)?, device, level)
}

/// Builds a package's network and codec, and checks that they agree with its signature.
fn build(
    package: &Package,
    mut loader: Loader<'_>,
    device: &Device,
    level: Level,
) -> Result<(CnnNetwork, CnnCodec), OpenError> {
    let manifest = &package.manifest;
    let head = head(&manifest.task)?;
    let layers = config::parse(&manifest.architecture.config)?;
    let preprocessing: Preprocessing = section("preprocessing", &manifest.preprocessing)?;
    let cnn = net::build(&layers, preprocessing.shape(), &mut loader)?;
    loader.finish()?;
    check_signature(manifest, &preprocessing, cnn.outputs())?;
    let labels = match head {
        Head::Softmax => labels(package, cnn.outputs())?,
        Head::Values => Vec::new(),
    };
    let network = CnnNetwork::new(Graph { cnn, head, device: device.clone() }, level);
    // What a golden sample may be is the package's choice, not the server's.
    let media = MediaLimits::default();
    let labels = labels.into();
    Ok((network, CnnCodec { preprocessing, media, head, labels }))
}

fn head(task: &str) -> Result<Head, OpenError> {
    match task {
        "image-classification" => Ok(Head::Softmax),
        "image-regression" => Ok(Head::Values),
        _ => Err(OpenError::Config {
            section: "task",
            reason: format!("expected image-classification or image-regression, got {task:?}"),
        }),
    }
}

/// The one input and the one output that a network of pictures has.
fn signature(head: Head, input: [usize; 3], outputs: usize) -> (TensorSpec, TensorSpec) {
    let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    let spec =
        |name: &str, shape| TensorSpec { name: name.to_owned(), datatype: Datatype::Fp32, shape };
    let output = match head {
        Head::Softmax => "probabilities",
        Head::Values => "values",
    };
    (spec("image", input.map(size).to_vec()), spec(output, vec![size(outputs)]))
}

fn check_signature(
    manifest: &Manifest,
    preprocessing: &Preprocessing,
    outputs: usize,
) -> Result<(), OpenError> {
    // Names are the package's own; what they hold is not.
    let (input, output) = signature(Head::Values, preprocessing.shape(), outputs);
    for (section, got, expected) in
        [("inputs", &manifest.inputs, input), ("outputs", &manifest.outputs, output)]
    {
        let same =
            |spec: &TensorSpec| spec.datatype == expected.datatype && spec.shape == expected.shape;
        if got.len() != 1 || !got.iter().all(same) {
            let reason = format!("expected one FP32 of shape {:?}, got {got:?}", expected.shape);
            return Err(OpenError::Config { section, reason });
        }
    }
    Ok(())
}

fn labels(package: &Package, outputs: usize) -> Result<Vec<String>, OpenError> {
    let refuse = |reason| OpenError::Config { section: LABELS_FILE, reason };
    let text = std::str::from_utf8(package.file(LABELS_FILE)?)
        .map_err(|_| refuse("expected UTF-8".to_owned()))?;
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if labels.len() == outputs {
        Ok(labels)
    } else {
        Err(refuse(format!("expected {outputs} lines, one per output, got {}", labels.len())))
    }
}
