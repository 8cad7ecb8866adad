//! The router from outside: what clients send, and what they get.

mod access;
mod audio;
mod codings;
mod oip;
mod refusals;
mod torchserve;
mod views;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::access::Access;
use crate::config::HttpSettings;
use crate::http::testing::{Got, Server, limits};

const PATH: &str = "/v1/predict/echo";

#[tokio::test]
async fn an_answer_carries_its_receipt() {
    let server = Server::new();
    let request = Request::post(format!("{PATH}?top_k=2"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-request-id", "mine-1")
        .body(Body::from("JPEG"))
        .unwrap();
    let got = server.send(request).await;
    assert_eq!(got.status, 200);
    let label = "/body: Opaque(b\"JPEG\") []";
    assert_eq!(
        got.value(),
        json!({
            "id": "mine-1",
            "model": "echo",
            "version": 3,
            "digest": "ab".repeat(32),
            "predictions": [{"label": label, "index": 2, "score": 0.5}],
            "timing": {"queue": 0.25, "pre": 1.5, "infer": 3.0, "post": 0.0},
            "batch_rows": 2,
        })
    );
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("x-request-id"), "mine-1");
    assert_eq!(got.header("x-model"), "echo");
    assert_eq!(got.header("x-model-version"), "3");
    assert_eq!(got.header("x-model-digest"), "ab".repeat(32));
    assert_eq!(got.header("server-timing"), "queue;dur=0.25, pre;dur=1.5, infer;dur=3, post;dur=0");
}

#[tokio::test]
async fn a_list_answers_with_a_list() {
    let server = Server::new();
    let got = server.json("/v1/predict", r#"{"model": "echo", "text": ["a"]}"#).await;
    let value = got.value();
    assert_eq!(value["results"].as_array().unwrap().len(), 1);
    assert_eq!(value["results"][0]["predictions"][0]["label"], "/text/0: Text(\"a\") []");
    assert!(value.get("predictions").is_none());
}

#[tokio::test]
async fn the_model_may_be_named_anywhere_but_once() {
    let server = Server::new();
    for (path, body) in [
        ("/v1/predict/echo", r#"{"text": "a"}"#),
        ("/v1/predict/echo/versions/3", r#"{"text": "a"}"#),
        ("/v1/predict/%65cho", r#"{"text": "a", "model": "echo"}"#),
        ("/v1/predict", r#"{"text": "a", "model": "echo"}"#),
        ("/v1/predict?model=echo", r#"{"text": "a"}"#),
    ] {
        assert_eq!(server.json(path, body).await.status, 200, "{path}");
    }
    let got = server.json("/v1/predict", r#"{"text": "a"}"#).await;
    assert_eq!(got.problem(400)["errors"][0]["pointer"], "/model");
    let got = server.json(PATH, r#"{"text": "a", "model": "stuck"}"#).await;
    assert_eq!(got.problem(400)["errors"][0]["pointer"], "/model");
}

#[tokio::test]
async fn new_request_ids_are_uuids_in_order_of_time() {
    let server = Server::new();
    let mut last = String::new();
    for odd in ["", "a b", &"x".repeat(129)] {
        let request = Request::get("/livez").header("x-request-id", odd);
        let got = server.send(request.body(Body::empty()).unwrap()).await;
        let id = got.header("x-request-id").to_owned();
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
        assert!(id > last, "{id} after {last}");
        last = id;
    }
}

#[tokio::test]
async fn a_large_document_is_read_elsewhere_and_comes_out_the_same() {
    let limits = HttpSettings { body_bytes_max: 1 << 20, ..limits() };
    let server = Server::with(Access::default(), limits);
    let body = format!("{{{}\"text\": \"a\"}}", " ".repeat(300_000));
    assert_eq!(server.json(PATH, &body).await.status, 200);
    let body = format!("{{{}\"text\": \"a\"", " ".repeat(300_000));
    assert!(server.json(PATH, &body).await.problem(400)["detail"].is_string());
}

#[tokio::test]
async fn a_stream_ends_in_the_whole_answer_or_a_problem() {
    let server = Server::new();
    let got = server.post("/v1/predict/talker", "text/plain", "x").await;
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(got.header("x-accel-buffering"), "no");
    assert_eq!(got.header("x-model"), "talker");
    let events = events(&got);
    assert_eq!(events[..2], [json!({"text": "a"}), json!({"text": "b"})]);
    assert_eq!(events[2]["text"], "ab");
    assert_eq!(events[2]["finish_reason"], "length");
    assert_eq!(events[2]["id"], got.header("x-request-id"));

    let got = server.post("/v1/predict/talker?seed=1", "text/plain", "x").await;
    assert_eq!(got.status, 200);
    let events = self::events(&got);
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["status"], 500);

    let text = server.metrics().await;
    for outcome in ["ok", "error"] {
        let line = format!(
            "maas_requests_total{{model=\"talker\",version=\"3\",outcome=\"{outcome}\"}} 1"
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

fn events(got: &Got) -> Vec<serde_json::Value> {
    let data = got.text.split("\n\n").filter(|event| !event.is_empty());
    data.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}
