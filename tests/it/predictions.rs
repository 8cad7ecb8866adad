//! What a newcomer does first, and what the answers promise.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{Server, answer, models};

#[tokio::test]
async fn a_picture_a_line_and_a_spoken_code_are_answered() {
    let server = Server::shipped().await;

    let boot = answer(server.predict("fashion", "fashion/1/golden/boot.png").await).await;
    assert_eq!(boot["predictions"][0]["label"], "Ankle boot");
    assert!(boot["predictions"][0]["score"].as_f64().unwrap() > 0.5);

    let path = "/v1/predict/kjv?max_tokens=60&temperature=0.7&top_k=3&seed=7";
    let verse = || server.post(path).body("In the beginning").send();
    let (first, second) =
        (answer(verse().await.unwrap()).await, answer(verse().await.unwrap()).await);
    assert_eq!(first["text"].as_str().unwrap().chars().count(), 60);
    assert_eq!(first["text"], second["text"], "one seed gives one text");
    assert_eq!((&first["seed"], &first["finish_reason"]), (&json!(7), &json!("length")));

    let golden = std::fs::read(models().join("digits/1/golden/samples.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let code = answer(server.predict("digits", "digits/1/golden/code.wav").await).await;
    assert_eq!(code["text"], golden[0]["expected"]["text"]);
    let words = code["words"].as_array().unwrap();
    assert_eq!(words.len(), code["text"].as_str().unwrap().split(' ').count());
    for pair in words.windows(2) {
        assert!(pair[0]["end"].as_f64() <= pair[1]["start"].as_f64(), "{pair:?}");
    }
}

#[tokio::test]
async fn an_answer_names_the_package_that_gave_it() {
    let server = Server::shipped().await;
    let response = server.predict("fashion/versions/1", "fashion/1/golden/boot.png").await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (model, version, digest) =
        (header("x-model"), header("x-model-version"), header("x-model-digest"));
    let (id, timing) = (header("x-request-id"), header("server-timing"));
    let body = answer(response).await;
    assert_eq!((&body["model"], &body["version"]), (&json!(model), &json!(1)));
    assert_eq!((version.as_str(), &body["digest"]), ("1", &json!(digest)));
    assert_eq!(body["id"], json!(id));
    for part in ["queue", "pre", "infer", "post"] {
        assert!(timing.contains(&format!("{part};dur=")), "{timing}");
        assert!(body["timing"][part].as_f64().unwrap() >= 0.0);
    }
    // The digest is that of the manifest's own bytes.
    let manifest = std::fs::read(models().join("fashion/1/manifest.toml")).unwrap();
    assert_eq!(digest, maas::package::sha256(&manifest).to_string());
}

#[tokio::test]
async fn every_form_of_a_picture_gets_the_same_answer() {
    let server = Server::shipped().await;
    let bytes = std::fs::read(models().join("fashion/1/golden/boot.png")).unwrap();
    let raw = server.predict("fashion", "fashion/1/golden/boot.png").await;
    let expected = answer(raw).await["predictions"].clone();

    let file = Part::bytes(bytes.clone()).file_name("boot.png");
    let form = server.post("/v1/predict/fashion").multipart(Form::new().part("file", file));
    let base64 = base64(&bytes);
    let json = |body: Value| server.post("/v1/predict").json(&body);
    for request in [
        form,
        json(json!({ "model": "fashion", "image": base64 })),
        json(json!({ "model": "fashion", "image": format!("data:image/png;base64,{base64}") })),
        server.post("/v1/predict/fashion").header("content-type", "image/png").body(bytes),
    ] {
        let got = answer(request.send().await.unwrap()).await;
        assert_eq!(got["predictions"], expected);
    }

    let list = answer(
        json(json!({ "model": "fashion", "image": [base64, base64] })).send().await.unwrap(),
    )
    .await;
    assert_eq!(list["results"], json!([{ "predictions": expected }, { "predictions": expected }]));
}

#[tokio::test]
async fn a_stream_joins_to_the_whole_text() {
    let server = Server::shipped().await;
    let path = "/v1/predict/kjv?max_tokens=20&seed=3";
    let whole = answer(server.post(path).body("And God said").send().await.unwrap()).await;
    let stream = server.post(&format!("{path}&stream=true")).body("And God said");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = stream.text().await.unwrap();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let (end, pieces) = events.split_last().unwrap();
    let joined: String = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
    assert!(pieces.len() > 10);
    assert_eq!((&json!(joined), &end["text"]), (&whole["text"], &whole["text"]));
    assert_eq!(end["digest"], whole["digest"]);
}

#[tokio::test]
async fn many_at_once_get_what_each_would_get_alone() {
    let server = Server::shipped().await;
    let path = |seed: usize| format!("/v1/predict/kjv?max_tokens=24&seed={seed}");
    let ask = |seed: usize| server.post(&path(seed)).body("And it came to pass").send();
    let mut alone = Vec::new();
    for seed in 0..3 {
        alone.push(answer(ask(seed).await.unwrap()).await["text"].clone());
    }
    let together = futures_util::future::join_all((0..12).map(|i| ask(i % 3))).await;
    for (i, response) in together.into_iter().enumerate() {
        assert_eq!(answer(response.unwrap()).await["text"], alone[i % 3]);
    }
}

#[tokio::test]
async fn models_are_listed_with_what_is_known_of_them() {
    let server = Server::shipped().await;
    let list = answer(server.get("/v1/models").send().await.unwrap()).await;
    let names: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["digits", "fashion", "kjv"]);
    for model in list["data"].as_array().unwrap() {
        assert_eq!(model["status"], "ready", "{model}");
        assert!(
            model["versions"][0]["card"]["metrics"].as_object().is_some_and(|m| !m.is_empty()),
            "{model}"
        );
    }
    let one = answer(server.get("/v1/models/kjv").send().await.unwrap()).await;
    assert!(one["example"].as_str().unwrap().contains("/v1/predict/kjv"));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
