//! A package serves only when it is exactly what its manifest says.

use std::path::Path;

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Server, answer, copy, maas};

/// What `GET /v1/models` says of `fashion` after its package was changed, beside a sound `kjv`.
async fn refused(change: impl FnOnce(&Path)) -> Value {
    let store = copy(&["fashion/1", "kjv/1"]);
    change(&store.path().join("fashion/1"));
    let server = Server::start(store.path(), &[]);
    server.settled().await;

    let ready = server.get("/readyz?verbose").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.unwrap().contains("fashion"));
    let request = server.predict("fashion", "fashion/1/golden/boot.png").await;
    assert_eq!(request.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(request.headers().contains_key("retry-after"));
    // Every other model serves on.
    let verse = server.post("/v1/predict/kjv?max_tokens=2").body("And").send().await.unwrap();
    answer(verse).await;

    let check = maas().arg("check").arg(store.path().join("fashion/1")).output().unwrap();
    assert!(!check.status.success());
    let models = answer(server.get("/v1/models").send().await.unwrap()).await;
    let fashion = models["data"][0]["versions"][0].clone();
    assert_eq!(fashion["state"], "failed");
    let reason = fashion["reason"].as_str().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains(reason), "{said} says nothing of {reason}");
    fashion
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Changes a file and the digest that the manifest has of it: the change is then well formed.
fn edit_with_digest(package: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let before = maas::package::sha256(&std::fs::read(package.join(file)).unwrap()).to_string();
    edit(&package.join(file), change);
    let after = maas::package::sha256(&std::fs::read(package.join(file)).unwrap()).to_string();
    edit(&package.join("manifest.toml"), |manifest| {
        let text = String::from_utf8(manifest.clone()).unwrap();
        assert!(text.contains(&before));
        *manifest = text.replace(&before, &after).into_bytes();
    });
}

#[tokio::test]
async fn one_flipped_bit_of_the_weights_is_found() {
    let fashion = refused(|package| {
        edit(&package.join("weights.safetensors"), |bytes| *bytes.last_mut().unwrap() ^= 1);
    })
    .await;
    assert!(fashion["reason"].as_str().unwrap().contains("weights.safetensors has SHA-256"));
}

#[tokio::test]
async fn weights_that_answer_otherwise_are_found_by_the_golden_samples() {
    let fashion = refused(|package| {
        // A well-formed file with other numbers in it.
        edit_with_digest(package, "weights.safetensors", |bytes| {
            let data = bytes.len() / 2;
            for value in bytes[data..].chunks_exact_mut(2) {
                value[1] ^= 0x80;
            }
        });
    })
    .await;
    let reason = fashion["reason"].as_str().unwrap();
    assert!(reason.contains("golden") || reason.contains("not finite"), "{reason}");
}

#[tokio::test]
async fn a_tensor_of_another_shape_is_named() {
    let fashion = refused(|package| {
        edit(&package.join("manifest.toml"), |manifest| {
            let text = String::from_utf8(manifest.clone()).unwrap();
            let at = text.find("\nout = ").expect("a layer with an out") + "\nout = ".len();
            let end = at + text[at..].find('\n').unwrap();
            *manifest = format!("{}3{}", &text[..at], &text[end..]).into_bytes();
        });
    })
    .await;
    let reason = fashion["reason"].as_str().unwrap();
    assert!(reason.contains("layers.0") && reason.contains("expected"), "{reason}");
}

#[tokio::test]
async fn a_missing_file_and_a_broken_manifest_are_told() {
    let missing = refused(|package| {
        std::fs::remove_file(package.join("labels.txt")).unwrap();
    });
    assert!(missing.await["reason"].as_str().unwrap().contains("labels.txt"));
    let broken = refused(|package| edit(&package.join("manifest.toml"), |m| m.truncate(40)));
    assert!(broken.await["reason"].as_str().unwrap().contains("manifest.toml"));
}

#[test]
fn the_manifest_that_the_documentation_shows_is_one() {
    let page = include_str!("../../docs/packages.md");
    let block = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let digest = format!("\"{}\"", "0".repeat(64));
    let text = block.replace("\"…64 hexadecimal digits…\"", &digest).replace("\"…\"", &digest);
    let manifest: maas::package::Manifest = toml::from_str(&text).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.files.len()), ("shapes", 4));
}

#[tokio::test]
async fn the_same_version_in_both_stores_is_an_error_at_start() {
    let store = copy(&["fashion/1"]);
    let state = tempfile::TempDir::new().unwrap();
    let own = copy(&["fashion/1"]);
    std::fs::rename(own.path(), state.path().join("store")).unwrap();
    let output = maas()
        .args(["serve", "--http=127.0.0.1:0", "--admin=127.0.0.1:0", "--grpc=127.0.0.1:0"])
        .arg(format!("--store={}", store.path().display()))
        .arg(format!("--state={}", state.path().display()))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("fashion/1"), "{said}");
}
