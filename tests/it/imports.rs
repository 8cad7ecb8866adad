//! `maas import` through the program: a checkpoint becomes a package that is served, a pickle that calls
//! becomes nothing.

use std::path::Path;
use std::process::Output;

use safetensors::{Dtype, tensor::TensorView};

use crate::support::maas;

const RECIPE: &str = r#"
name = "tiny"
version = 1
task = "image-regression"
description = "A mean of grey, doubled"
author = "a test"
licence = "MIT"
source = "a test's own"
samples = ["boot.png"]

[preprocessing]
channels = 1
width = 28
height = 28
fit = "stretch"
filter = "nearest"
mean = [0]
std = [255]

[architecture]
name = "cnn"

[architecture.config]
layers = [{ kind = "global-average-pool" }, { kind = "linear", out = 1 }]

[tensors.prefixes]
"layers.1" = "head"
"#;

fn weights() -> Vec<u8> {
    let (two, none) = (2.0_f32.to_le_bytes(), [0; 4]);
    let view = |shape, bytes| TensorView::new(Dtype::F32, shape, bytes).unwrap();
    let tensors = [("head.weight", view(vec![1, 1], &two)), ("head.bias", view(vec![1], &none))];
    safetensors::serialize(tensors, None).unwrap()
}

/// Imports `source` with the recipe, into a store beside them.
fn import(directory: &Path, source: &[u8], flags: &[&str]) -> Output {
    import_with(directory, RECIPE, source, flags)
}

fn import_with(directory: &Path, recipe: &str, source: &[u8], flags: &[&str]) -> Output {
    let boot = concat!(env!("CARGO_MANIFEST_DIR"), "/models/fashion/1/golden/boot.png");
    std::fs::copy(boot, directory.join("boot.png")).unwrap();
    std::fs::write(directory.join("recipe.toml"), recipe).unwrap();
    std::fs::write(directory.join("weights"), source).unwrap();
    let mut command = maas();
    command.arg("import").arg(directory.join("weights"));
    command.arg("--recipe").arg(directory.join("recipe.toml"));
    command.arg("--out").arg(directory.join("store")).args(flags).output().unwrap()
}

#[test]
fn a_checkpoint_becomes_a_package_that_passes_its_check() {
    let directory = tempfile::tempdir().unwrap();
    let output = import(directory.path(), &weights(), &["--name", "grey", "--version", "7"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("grey/7"), "{said}");
    let check = maas().arg("check").arg(directory.path().join("store/grey/7")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let manifest = directory.path().join("store/grey/7/manifest.toml");
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
    assert_eq!(manifest["import"]["recipe"].as_str(), Some(RECIPE));
    let command = manifest["import"]["command"].as_str().unwrap();
    assert!(command.ends_with("--name grey --version 7"), "{command}");

    let again = import(directory.path(), &weights(), &["--name", "grey", "--version", "7"]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("immutable"));
}

#[test]
fn a_pickle_that_calls_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // The pickles of the older form, of which the fourth would run a program.
    let mut source = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    source.extend(b"\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.");
    let proof = directory.path().join("called");
    source.extend(b"\x80\x02cos\nsystem\nX");
    let call = format!("touch {}", proof.display());
    source.extend(u32::try_from(call.len()).unwrap().to_le_bytes());
    source.extend(call.bytes());
    source.extend(b"\x85R.\x80\x02].");
    let output = import(directory.path(), &source, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("os.system"), "{said}");
    assert!(!proof.exists() && !directory.path().join("store").exists());
}

/// What is said of the recipe with `from` replaced by `to`.
fn refused(from: &str, to: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = import_with(directory.path(), &RECIPE.replace(from, to), &weights(), &[]);
    assert!(!output.status.success() && !directory.path().join("store").exists());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_recipe_that_cannot_be_followed_is_told_why() {
    let trained = refused("name = \"cnn\"", "name = \"gru\"");
    assert!(trained.contains("`maas train` makes one"), "{trained}");
    let unread = refused("source =", "unread = 1\nsource =");
    assert!(unread.contains("unread"), "{unread}");
    let cnn = "name = \"cnn\"\n\n[architecture.config]";
    let bert = "name = \"transformer\"\n\n[architecture.config]\nkind = \"bert\"";
    let ours = refused(cnn, bert);
    assert!(ours.contains("tensors is not usable") && ours.contains("leave it out"), "{ours}");
}
