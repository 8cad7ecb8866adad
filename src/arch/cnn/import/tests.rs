//! A small network of another's making goes the whole way; what does not fit is refused, and leaves
//! nothing behind. The recipes that are shipped fit the state dicts that they are for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::arch::{Source, golden};
use crate::checkpoint::{self, Dtype};
use crate::compute::WeightError;
use crate::media::picture::Picture;
use crate::package::Package;

const RECIPE: &str = r#"
    name = "tiny"
    version = 3
    task = "image-classification"
    description = "Grey"
    author = "a test"
    licence = "MIT"
    source = "a test's own"
    [preprocessing]
    channels = 1
    width = 2
    height = 2
    fit = "stretch"
    filter = "nearest"
    mean = [0]
    std = [255]
    [architecture]
    name = "cnn"
    [architecture.config]
    layers = [
        { kind = "convolution", out = 2, kernel = 1, bias = false },
        { kind = "batch-norm" },
        { kind = "global-average-pool" },
        { kind = "linear", out = 3 },
    ]
    [tensors.prefixes]
    "layers.0" = "conv"
    "layers.1" = "bn"
    "layers.3" = "fc"
"#;

type Tensors = BTreeMap<String, Tensor>;

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(Dtype::F32, shape.to_vec(), bytes.into()).unwrap()
}

fn zeros(dtype: Dtype, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>() * dtype.size();
    Tensor::new(dtype, shape.to_vec(), vec![0; count].into()).unwrap()
}

/// The checkpoint that the recipe is for.
fn tensors() -> Tensors {
    [
        ("conv.weight", zeros(Dtype::F16, &[2, 1, 1, 1])),
        ("bn.weight", tensor(&[2], &[1.0, 1.0])),
        ("bn.bias", tensor(&[2], &[1.0, 2.0])),
        ("bn.running_mean", tensor(&[2], &[0.0, 0.0])),
        ("bn.running_var", tensor(&[2], &[1.0, 1.0])),
        ("bn.num_batches_tracked", zeros(Dtype::I64, &[])),
        ("fc.weight", tensor(&[3, 2], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])),
        ("fc.bias", tensor(&[3], &[0.0, 0.0, 0.0])),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

/// A source, labels and a sample in `directory`, and the job that imports them.
fn job(directory: &Path, tensors: &Tensors) -> ImportJob {
    let weights = directory.join("model.safetensors");
    fs::write(&weights, checkpoint::to_safetensors(tensors).unwrap()).unwrap();
    let labels = directory.join("labels.json");
    fs::write(&labels, r#"{"0": "black", "2": "white", "1": "grey"}"#).unwrap();
    let sample = directory.join("dark.png");
    fs::write(&sample, Picture::grey(2, 2, vec![9; 4]).unwrap().to_png().unwrap()).unwrap();
    ImportJob {
        recipe: toml::from_str(RECIPE).unwrap(),
        recipe_text: RECIPE.to_owned(),
        command: "maas import".to_owned(),
        source_revision: "test".to_owned(),
        source: Source::new(&weights),
        labels: Some(labels),
        samples: vec![sample],
        out: directory.join("store"),
    }
}

#[test]
fn a_checkpoint_becomes_a_package_that_opens_and_says_where_it_came_from() {
    let directory = tempfile::tempdir().unwrap();
    let mut job = job(directory.path(), &tensors());
    let report = import(&mut job).unwrap();
    assert_eq!(report.place, directory.path().join("store/tiny/3"));

    let package = Package::open(&report.place).unwrap();
    assert_eq!(package.digest, report.digest);
    let (network, codec) = load(&package, &Device::Cpu, kernels::best()).unwrap();
    golden::check(&package, &network, &codec).unwrap();
    let sample = &golden::samples(&package).unwrap()[0];
    assert_eq!(sample.input, "golden/dark.png");
    // Of the three, 0.5 + 2 × 0.6 is the most.
    assert_eq!(sample.expected["predictions"][0]["label"], "white");

    let receipt = package.manifest.import.as_ref().unwrap();
    assert_eq!((receipt.source.as_str(), receipt.recipe.as_str()), ("a test's own", RECIPE));
    let names: Vec<&str> = receipt.sources.keys().map(String::as_str).collect();
    assert_eq!(names, ["labels.json", "model.safetensors"]);

    let weights = package.file(WEIGHTS_FILE).unwrap().to_vec();
    let weights = checkpoint::read("weights", &weights.into()).unwrap();
    assert_eq!(weights.get("layers.0.weight").unwrap().dtype(), Dtype::F16);
    assert_eq!(weights.iter().count(), 7);

    let again = import(&mut job).unwrap_err().to_string();
    assert!(again.contains("a version is immutable"), "{again}");
}

/// What an import says that is refused. Nothing may be left in the store.
fn refused(tensors: &Tensors, edit: impl Fn(&mut ImportJob)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut job = job(directory.path(), tensors);
    edit(&mut job);
    let error = import(&mut job).unwrap_err().to_string();
    assert!(!job.out.exists(), "{error}");
    error
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_both_of_their_names() {
    let with = |name: &str, tensor: Option<Tensor>| {
        let mut tensors = tensors();
        match tensor {
            Some(tensor) => tensors.insert(name.to_owned(), tensor),
            None => tensors.remove(name),
        };
        refused(&tensors, |_| {})
    };
    let missing = with("fc.bias", None);
    assert!(missing.contains("\"fc.bias (our layers.3.bias)\" is missing"), "{missing}");
    let extra = with("head.weight", Some(tensor(&[1], &[0.0])));
    assert!(extra.contains("1 tensors") && extra.contains("head.weight"), "{extra}");
    // A counter is left out only where it is one.
    let counter = with("bn.num_batches_tracked", Some(tensor(&[], &[0.0])));
    assert!(counter.contains("bn.num_batches_tracked"), "{counter}");
    let shape = with("fc.weight", Some(zeros(Dtype::F32, &[2, 3])));
    assert!(shape.contains("fc.weight") && shape.contains("[2, 3]: expected [3, 2]"), "{shape}");
    let integer = with("fc.bias", Some(zeros(Dtype::I32, &[3])));
    assert!(integer.contains("fc.bias") && integer.contains("I32"), "{integer}");
    let double = with("fc.bias", Some(zeros(Dtype::F64, &[3])));
    assert!(double.contains("F64"), "{double}");
    let nan = with("fc.bias", Some(tensor(&[3], &[0.0, f32::NAN, 0.0])));
    assert!(nan.contains("fc.bias") && nan.contains("element 1"), "{nan}");
    // Every weight is finite, and their products are not.
    let huge = with("fc.weight", Some(tensor(&[3, 2], &[3e38; 6])));
    assert!(huge.contains("golden/dark.png"), "{huge}");
}

#[test]
fn files_that_are_not_what_they_should_be_are_refused() {
    let write = |file: &'static str, text: &'static str| {
        move |job: &mut ImportJob| {
            let directory = job.out.parent().unwrap();
            fs::write(directory.join(file), text).unwrap();
        }
    };
    let good = tensors();
    let cut = refused(&good, |job| {
        let place = job.out.with_file_name("model.safetensors");
        let bytes = fs::read(&place).unwrap();
        fs::write(&place, &bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(cut.contains("model.safetensors: expected a whole"), "{cut}");
    for (file, text, words) in [
        ("model.safetensors", "", "model.safetensors: expected a safetensors file"),
        ("labels.json", "black\ngrey\n", "3 lines"),
        ("labels.json", r#"["a", "b"]"#, "3 lines"),
        ("labels.json", r#"["a", "b", "c\nd"]"#, "labels of one line each"),
        ("labels.json", r#"{"0": "a", "1": "b", "3": "c"}"#, "an object without 2"),
        ("labels.json", r#"{"0": 1}"#, "other JSON"),
        ("dark.png", "no picture", "golden/dark.png"),
    ] {
        let error = refused(&good, write(file, text));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_job_that_lacks_something_is_told_what() {
    let good = tensors();
    assert!(refused(&good, |job| job.samples.clear()).contains("--sample"));
    assert!(refused(&good, |job| job.samples.push(job.samples[0].clone())).contains("two inputs"));
    assert!(refused(&good, |job| job.samples[0].set_file_name("ä.png")).contains("a name of"));
    assert!(refused(&good, |job| job.labels = None).contains("--labels"));
    let regression = |job: &mut ImportJob| job.recipe.task = "image-regression".to_owned();
    assert!(refused(&good, regression).contains("leave the labels out"));
    let listed = refused(&good, |job| job.samples[0].set_file_name("samples.json"));
    assert!(listed.contains("list of the samples"), "{listed}");
    let absent = refused(&good, |job| job.source = Source::new(Path::new("absent.pth")));
    assert!(absent.contains("absent.pth cannot be read"), "{absent}");
    let empty = refused(&good, |job| job.source = Source::new(Path::new("/")));
    assert!(empty.contains("model.safetensors, model.bin"), "{empty}");
    let table = refused(&good, |job| drop(job.recipe.tensors.insert("prefix".into(), 1.into())));
    assert!(table.contains("tensors") && table.contains("prefix"), "{table}");
    let mut tie = good.clone();
    tie.insert("fc.weight".to_owned(), zeros(Dtype::F32, &[3, 2]));
    assert!(refused(&tie, |_| {}).contains("nearly the same"));
}

/// A checkpoint of zeros with the names and shapes of `listing`: what `state_dict()` lists, one a line.
fn listed(listing: &str) -> Checkpoint {
    let tensors: Tensors = listing
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            let shape: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
            let counter = name.ends_with("num_batches_tracked");
            (name.to_owned(), zeros(if counter { Dtype::I64 } else { Dtype::F16 }, &shape))
        })
        .collect();
    let bytes = checkpoint::to_safetensors(&tensors).unwrap();
    checkpoint::read(listing.lines().next().unwrap(), &bytes.into()).unwrap()
}

#[test]
fn the_recipes_that_are_shipped_fit_the_state_dicts_they_are_for() {
    for (recipe, listing) in [
        (
            include_str!("../../../../config/import/efficientnet-lite0.toml"),
            include_str!("../data/efficientnet-lite0.txt"),
        ),
        (
            include_str!("../../../../config/import/resnet18.toml"),
            include_str!("../data/resnet18.txt"),
        ),
        (
            include_str!("../../../../config/import/resnet50.toml"),
            include_str!("../data/resnet50.txt"),
        ),
    ] {
        let recipe: ImportRecipe = toml::from_str(recipe).unwrap();
        let (weights, signature, _) = take(&recipe, listed(listing)).unwrap();
        assert_eq!(signature.inputs[0].shape, [3, 224, 224]);
        assert_eq!(signature.outputs[0].shape, [1000]);
        let weights = checkpoint::read("weights", &weights.into()).unwrap();
        let listed = listing.lines().filter(|line| !line.contains("num_batches_tracked"));
        assert_eq!(weights.iter().count(), listed.count(), "{}", recipe.name);
    }
}

#[test]
fn a_recipe_of_another_network_says_so() {
    let recipe = include_str!("../../../../config/import/resnet18.toml");
    let recipe: ImportRecipe = toml::from_str(recipe).unwrap();
    let error = take(&recipe, listed(include_str!("../data/resnet50.txt"))).unwrap_err();
    let ImportError::Open(crate::arch::OpenError::Weights(WeightError::Shape { name, .. })) = error
    else {
        panic!("{error}")
    };
    assert_eq!(name, "layer1.0.conv1.weight (our layers.4.layers.0.weight)");
}
