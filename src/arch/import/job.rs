//! One run of `maas import`, and what every architecture's `import` ends in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

use crate::arch::golden::{GOLDEN_FILE, GoldenSample, TOLERANCE};
use crate::arch::import::{Files, ImportError, ImportRecipe, ImportReport, Source, source};
use crate::arch::pack::{self, Signature};
use crate::package::{Draft, ImportReceipt, Manifest, Package};

/// One run of `maas import`.
#[derive(Debug)]
pub struct ImportJob {
    /// An architecture that reads its hyperparameters from the source fills in
    /// `recipe.architecture.config` and `recipe.preprocessing`, which the manifest gets.
    pub recipe: ImportRecipe,
    /// The recipe's own text, for the receipt.
    pub recipe_text: String,
    /// The command as typed, for the receipt.
    pub command: String,
    pub source_revision: String,
    pub source: Source,
    /// The names of the classes; the recipe's, or what the command line named instead.
    pub labels: Option<PathBuf>,
    /// Inputs for the golden samples, as with the labels.
    pub samples: Vec<PathBuf>,
    /// The store that gets `<name>/<version>/`.
    pub out: PathBuf,
}

/// An input that the user or the recipe names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The path that it gets in the package.
    pub path: String,
    pub bytes: Bytes,
}

impl ImportJob {
    /// The inputs for the golden samples: at least one, since a package without any is not served.
    ///
    /// # Errors
    /// [`ImportError::Sample`] when there is none, or two have one name; [`ImportError::Read`].
    pub fn samples(&self) -> Result<Vec<Sample>, ImportError> {
        let refuse = |name: &str, reason: &str| {
            Err(ImportError::Sample { name: name.to_owned(), reason: reason.to_owned() })
        };
        if self.samples.is_empty() {
            let reason = "there is none, and a package is served only while it answers its golden \
                          samples as it did: name an input with --sample";
            return refuse("inputs", reason);
        }
        let mut names = BTreeSet::new();
        let mut samples = Vec::new();
        for path in &self.samples {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || !name.chars().all(plain) {
                return refuse(&path.display().to_string(), "expected a name of a-z A-Z 0-9 . _ -");
            }
            let inside = format!("golden/{name}");
            if inside == GOLDEN_FILE {
                return refuse(name, "the list of the samples has this name: rename the input");
            }
            if !names.insert(name) {
                return refuse(name, "two inputs have this name: rename one");
            }
            samples.push(Sample { path: inside, bytes: source::sample(path)? });
        }
        Ok(samples)
    }

    /// The package as it will be, but for its golden samples: what the network and the codec that answer
    /// them are opened from. Everything of the source must have been read: the receipt is written here.
    ///
    /// # Errors
    /// [`ImportError::Package`] when the manifest cannot be written as TOML.
    pub fn package(&self, signature: Signature, files: Files) -> Result<Package, ImportError> {
        let draft = Draft { manifest: self.manifest(signature), files };
        Ok(Package::from_draft(draft)?)
    }

    /// Writes `package` with its golden samples: each input and what `answer` says to it, which is what
    /// [`golden::check`](crate::arch::golden::check) or the architecture's own check will ask for.
    ///
    /// # Errors
    /// [`ImportError::Sample`] with what `answer` refused, [`ImportError::Package`] when the version exists
    /// already or a file cannot be written.
    pub fn write(
        &self,
        package: Package,
        media: &str,
        samples: Vec<Sample>,
        answer: impl Fn(Bytes) -> Result<Value, String>,
    ) -> Result<ImportReport, ImportError> {
        let Draft { manifest, mut files } = package.into_draft();
        let mut golden = Vec::new();
        for Sample { path, bytes } in samples {
            let expected = answer(bytes.clone())
                .map_err(|reason| ImportError::Sample { name: path.clone(), reason })?;
            files.insert(path.clone(), bytes.to_vec());
            let media = media.to_owned();
            golden.push(GoldenSample { input: path, media, expected, tolerance: TOLERANCE });
        }
        let (place, digest) = pack::place(&self.out, manifest, files, &golden)?;
        Ok(ImportReport { place, digest })
    }

    fn manifest(&self, signature: Signature) -> Manifest {
        let recipe = &self.recipe;
        Manifest {
            format: 1,
            name: recipe.name.clone(),
            version: recipe.version,
            task: recipe.task.clone(),
            description: recipe.description.clone(),
            author: recipe.author.clone(),
            licence: recipe.licence.clone(),
            created: pack::now(),
            architecture: recipe.architecture.clone(),
            preprocessing: recipe.preprocessing.clone(),
            inputs: signature.inputs,
            outputs: signature.outputs,
            metrics: BTreeMap::new(),
            training: None,
            import: Some(ImportReceipt {
                source: recipe.source.clone(),
                sources: self.source.digests().clone(),
                command: self.command.clone(),
                recipe: self.recipe_text.clone(),
                source_revision: self.source_revision.clone(),
            }),
            files: BTreeMap::new(),
        }
    }
}
