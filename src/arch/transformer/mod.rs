//! Transformers. `architecture.config.kind` says which: each kind is a folder, with a configuration and
//! tensor names of its own.

mod bert;
mod block;
mod compression;
mod ctc;
mod waveform;
mod whisper;

use crate::arch::pack::Signature;
use crate::arch::{
    Architecture, EvalJob, EvalReport, Evaluate, Import, ImportError, ImportJob, ImportReport,
    Measure, Open, OpenContext, OpenError, Timed, Train, TrainError, TrainJob, TrainReport,
};
use crate::compute::Device;
use crate::domain::{Item, TensorSpec};
use crate::engine::Endpoint;
use crate::package::Package;

/// This architecture's row.
pub const ARCHITECTURE: Architecture =
    Architecture { name: "transformer", open, train, evaluate, measure, import: Some(import) };

/// What a kind can do.
struct Kind {
    name: &'static str,
    open: Open,
    measure: Measure,
    train: Option<Train>,
    evaluate: Option<Evaluate>,
    import: Option<Import>,
}

/// Every kind; the first is that of packages which do not say.
const KINDS: &[Kind] = &[
    Kind {
        name: "ctc",
        open: ctc::open,
        measure: ctc::measure,
        train: Some(ctc::train),
        evaluate: Some(ctc::evaluate),
        import: None,
    },
    Kind {
        name: "bert",
        open: bert::open,
        measure: bert::measure,
        train: None,
        evaluate: None,
        import: Some(bert::import),
    },
    Kind {
        name: "whisper",
        open: whisper::open,
        measure: whisper::measure,
        train: None,
        evaluate: None,
        import: Some(whisper::import),
    },
];

fn kind(config: &toml::Table) -> Result<&'static Kind, OpenError> {
    let said = match config.get("kind") {
        None => Some(KINDS[0].name),
        Some(value) => value.as_str(),
    };
    KINDS.iter().find(|kind| said == Some(kind.name)).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let reason = format!("kind: expected one of {}", names.join(", "));
        OpenError::Config { section: "architecture.config", reason }
    })
}

fn open(package: &mut Package, context: &OpenContext<'_>) -> Result<Box<dyn Endpoint>, OpenError> {
    (kind(&package.manifest.architecture.config)?.open)(package, context)
}

fn measure(
    package: &Package,
    context: &OpenContext<'_>,
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    (kind(&package.manifest.architecture.config)?.measure)(package, context, input)
}

fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    let kind = kind(&job.recipe.architecture.config)?;
    let train = kind.train.ok_or_else(|| cannot(kind, "trained here: `maas import` packs one"))?;
    train(job, device)
}

fn evaluate(package: &Package, job: &EvalJob, device: &Device) -> Result<EvalReport, TrainError> {
    let kind = kind(&package.manifest.architecture.config)?;
    let evaluate = kind.evaluate.ok_or_else(|| cannot(kind, "measured on data yet"))?;
    evaluate(package, job, device)
}

fn import(job: &mut ImportJob) -> Result<ImportReport, ImportError> {
    let kind = kind(&job.recipe.architecture.config)?;
    let import = kind.import.ok_or_else(|| cannot(kind, "imported: `maas train` makes one"))?;
    for (section, given) in [
        ("labels", job.labels.is_some()),
        ("tensors", !job.recipe.tensors.is_empty()),
        ("preprocessing", !job.recipe.preprocessing.is_empty()),
    ] {
        if given {
            let reason = "a transformer's own files say it: leave it out".to_owned();
            return Err(OpenError::Config { section, reason }.into());
        }
    }
    import(job)
}

/// One tensor in, one out.
fn signature(input: TensorSpec, output: TensorSpec) -> Signature {
    Signature { inputs: vec![input], outputs: vec![output] }
}

fn cannot(kind: &Kind, what: &str) -> OpenError {
    let reason = format!("a transformer of kind {} cannot be {what}", kind.name);
    OpenError::Config { section: "architecture.config", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_says_no_kind_is_ctc_and_an_unknown_one_is_told_the_names() {
        let of = |text: &str| kind(&toml::from_str(text).unwrap());
        assert_eq!(of("").unwrap().name, "ctc");
        assert_eq!(of("kind = \"ctc\"").unwrap().name, "ctc");
        assert_eq!(of("kind = \"bert\"").unwrap().name, "bert");
        for bad in ["kind = \"rnn\"", "kind = 3"] {
            let Err(error) = of(bad) else { panic!("{bad} passed") };
            assert!(error.to_string().contains("expected one of ctc"), "{error}");
        }
    }
}
