//! What operators see.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::PATH;
use crate::domain::State;
use crate::http::testing::{Server, unready};

#[tokio::test]
async fn models_are_shown_with_their_state() {
    let server = Server::new();
    server.registry.put(unready("broken", State::Failed, false));
    let list = server.get("/v1/models").await.value();
    let entries = list["data"].as_array().unwrap();
    assert_eq!(entries.len(), 8);
    assert_eq!(entries[0]["id"], "broken");
    let broken = &entries[0]["versions"][0];
    assert_eq!((&entries[0]["status"], &broken["state"]), (&json!("failed"), &json!("failed")));
    assert_eq!(broken["reason"], "the weights are missing");
    assert_eq!(broken["loaded"], false);
    assert_eq!(entries[1]["id"], "echo");
    // 2026-01-01T00:00:00Z.
    assert_eq!(entries[1]["created"], 1_767_225_600);
    assert_eq!((&entries[1]["object"], &entries[1]["owned_by"]), (&json!("model"), &json!("maas")));
    assert_eq!(
        (&entries[1]["version"], &entries[1]["task"]),
        (&json!(3), &json!("image-classification"))
    );
    assert_eq!(entries[1]["versions"][0]["device"], "cpu");
    assert_eq!(entries[1]["versions"][0]["card"]["metrics"]["accuracy"], 0.9);

    let one = server.get("/v1/models/talker").await.value();
    assert_eq!(one["versions"][0]["version"], 3);
    let example = "curl -d 'In the beginning' http://127.0.0.1:8080/v1/predict/talker";
    assert_eq!(one["example"], example);
    for (path, id) in [("talker@3", "talker@3"), ("talker%403", "talker@3")] {
        let one = server.get(&format!("/v1/models/{path}")).await.value();
        assert_eq!((&one["id"], &one["version"]), (&json!(id), &json!(3)));
    }
    for unknown in
        ["/v1/models/nothing", "/v1/models/%2e%2e", "/v1/models/talker@4", "/v1/models/talker@x"]
    {
        let got = server.get(unknown).await;
        assert_eq!((got.status.as_u16(), got.header("content-type")), (404, "application/json"));
        assert_eq!(got.value()["error"]["code"], "model_not_found", "{got:?}");
    }
}

#[tokio::test]
async fn metrics_count_predictions_by_how_they_ended() {
    let server = Server::new();
    server.post(PATH, "image/png", "x").await;
    server.post("/v1/predict/full", "audio/wav", "x").await;
    server.post("/v1/predict/a-strangers-word", "image/png", "x").await;
    server.get("/v1/models").await;
    let stuck = Request::post("/v1/predict/stuck").body(Body::from("x")).unwrap();
    let gone = tokio::time::timeout(std::time::Duration::from_millis(1), server.send(stuck)).await;
    assert!(gone.is_err());
    let text = server.metrics().await;
    for line in [
        "maas_requests_total{model=\"echo\",version=\"3\",outcome=\"ok\"} 1",
        "maas_requests_total{model=\"full\",version=\"3\",outcome=\"rejected\"} 1",
        "maas_requests_total{model=\"\",version=\"\",outcome=\"invalid\"} 1",
        "maas_requests_total{model=\"stuck\",version=\"3\",outcome=\"cancelled\"} 1",
        "maas_infer_duration_seconds_sum{model=\"echo\",version=\"3\"} 0.003",
        "maas_inflight_requests 0",
        "maas_model_state{model=\"echo\",version=\"3\",state=\"ready\"} 1",
        "maas_model_state{model=\"echo\",version=\"3\",state=\"failed\"} 0",
        "maas_model_load_seconds{model=\"echo\",version=\"3\"} 0.02",
        "maas_rows_total{model=\"echo\",version=\"3\"} 3",
        "maas_batches_total{model=\"echo\",version=\"3\"} 1",
        "maas_batch_rows_bucket{le=\"2.0\",model=\"echo\",version=\"3\"} 0",
        "maas_batch_rows_bucket{le=\"4.0\",model=\"echo\",version=\"3\"} 1",
        "maas_batch_rows_bucket{le=\"+Inf\",model=\"echo\",version=\"3\"} 1",
        "maas_queue_depth{model=\"echo\",version=\"3\"} 0",
        "maas_tokens_total{model=\"echo\",version=\"3\",kind=\"prompt\"} 0",
        "maas_executor_busy_seconds_total{model=\"echo\",version=\"3\",device=\"cpu\"} 0.004",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(!text.contains("stranger"), "names that callers make up are no labels");
    let total = text.lines().filter(|line| line.starts_with("maas_requests_total{")).count();
    assert_eq!(total, 4, "{text}");
}

#[tokio::test]
async fn the_log_has_one_line_a_request_and_no_secret() {
    let server = Server::new();
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
    let guard = tracing::subscriber::set_default(log);
    // Whoever meets a line first decides for all whether somebody wants it, and tests beside this one have no log:
    // so it is met once, and then asked again.
    server.post(PATH, "text/plain", "x").await;
    tracing::callsite::rebuild_interest_cache();
    lines.0.lock().unwrap().clear();
    let request = Request::post(format!("{PATH}?top_k=3&stop=hush"))
        .header("authorization", "Bearer hush")
        .header("content-type", "text/plain")
        .body(Body::from("hush"));
    server.send(request.unwrap()).await;
    server.get("/livez").await;
    drop(guard);
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = &line["fields"];
    assert_eq!(fields["route"], "/v1/predict/{model}");
    assert_eq!((&fields["status"], &fields["outcome"]), (&json!(200), &json!("ok")));
    assert_eq!((&fields["model"], &fields["version"]), (&json!("echo"), &json!(3)));
    assert!(fields["request_id"].is_string() && fields["duration_ms"].is_f64(), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

/// A log that a test reads.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
