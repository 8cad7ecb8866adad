//! The router from outside: what clients send, and what they get.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures_util::stream;
use serde_json::json;
use tower::ServiceExt;

use crate::access::{Access, Key, Scope};
use crate::domain::{Digest, State};
use crate::http::Stage;
use crate::http::testing::{Got, Server, limits, unready};

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
async fn names_and_paths_never_become_files() {
    let server = Server::new();
    for path in [
        "/v1/predict/nothing",
        "/v1/predict/echo/versions/4",
        "/v1/predict/echo/versions/0",
        "/v1/predict/echo/versions/x",
        "/v1/predict/../../etc/passwd",
        "/v1/predict/%2e%2e",
        "/v1/predict/..%2f..%2fetc%2fpasswd",
        "/v1/predict/%252e%252e",
        "/v1/predict/%ff",
        "/v1/predict/ECHO",
        "/v1/predict/",
        "/v1/predict/echo/",
        "/etc/passwd",
        "/v2/health/live",
    ] {
        server.post(path, "text/plain", "x").await.problem(404);
    }
    let got = server.post("/v1/predict/nothing", "text/plain", "x").await;
    assert!(got.text.contains("echo, full, panics, stuck, talker"), "{}", got.text);
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let server = Server::new();
    for (method, path, allowed) in [
        (Method::GET, PATH, "POST"),
        (Method::HEAD, PATH, "POST"),
        (Method::PUT, "/v1/models", "GET, HEAD"),
        (Method::OPTIONS, "/livez", "GET, HEAD"),
    ] {
        let request = Request::builder().method(method.clone()).uri(path);
        let got = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((got.status, got.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, allowed));
        if method != Method::HEAD {
            got.problem(405);
        }
    }
}

#[tokio::test]
async fn a_problem_shows_how_to_do_it() {
    let server = Server::new();
    let request = Request::post(PATH)
        .header("host", "models.example:8080")
        .header("content-type", "application/json");
    let got = server.send(request.body(Body::from("{\"input\": 1}")).unwrap()).await;
    let problem = got.problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/input");
    assert_eq!(
        problem["example"],
        "curl --data-binary @picture.jpg http://models.example:8080/v1/predict/echo"
    );
    let got = server.post(PATH, "application/pdf", "x").await;
    assert!(got.problem(415)["example"].is_string());
    let got = server.json(&format!("{PATH}?colour=red"), r#"{"text": "a"}"#).await;
    assert_eq!(got.problem(400)["errors"][0]["pointer"], "/query/colour");
}

#[tokio::test]
async fn bodies_are_bounded_while_they_come() {
    let server = Server::new();
    let most = limits().body_bytes_max;
    let exact = server.post(PATH, "image/png", vec![7; most]).await;
    assert_eq!(exact.status, 200);
    server.post(PATH, "image/png", vec![7; most + 1]).await.problem(413);

    let chunks = (0..1000).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 1000]));
    let unbounded = Body::from_stream(stream::iter(chunks));
    server.post(PATH, "image/png", unbounded).await.problem(413);

    let lie = Request::post(PATH).header("content-length", "9223372036854775807");
    server.send(lie.body(Body::from("x")).unwrap()).await.problem(413);

    let broken = stream::iter([Ok(vec![7_u8]), Err(std::io::Error::other("gone"))]);
    server.post(PATH, "image/png", Body::from_stream(broken)).await.problem(400);

    let zipped = Request::post(PATH).header("content-encoding", "gzip");
    server.send(zipped.body(Body::from("x")).unwrap()).await.problem(415);
    server.post(PATH, "image/png", "").await.problem(400);
}

#[tokio::test]
async fn a_large_document_is_read_elsewhere_and_comes_out_the_same() {
    let server = Server::new();
    let body = format!("{{{}\"text\": \"a\"}}", " ".repeat(40_000));
    assert_eq!(server.json(PATH, &body).await.status, 200);
    let body = format!("{{{}\"text\": \"a\"", " ".repeat(40_000));
    assert!(server.json(PATH, &body).await.problem(400)["detail"].is_string());
}

#[tokio::test(start_paused = true)]
async fn all_bodies_together_are_bounded() {
    let server = Server::new();
    let predict = |body| {
        let request = Request::post("/v1/predict/stuck").body(Body::from(body)).unwrap();
        tokio::spawn(server.main.clone().oneshot(request))
    };
    let most = limits().body_bytes_max;
    let waiting: Vec<_> = (0..16).map(|_| predict(vec![7_u8; most])).collect();
    tokio::task::yield_now().await;
    let got = server.post(PATH, "image/png", vec![7; most]).await;
    assert!(got.problem(503)["detail"].as_str().unwrap().contains("memory"));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().status(), 504);
    }
    assert_eq!(server.post(PATH, "image/png", vec![7; most]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_ends() {
    let server = Server::new();
    let slow = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    server.post(PATH, "image/png", slow).await.problem(408);
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_the_callers_up_to_a_limit() {
    let server = Server::new();
    for (header, seconds) in [(None, 30.0), (Some("250"), 0.25), (Some("99999999"), 60.0)] {
        let mut request = Request::post("/v1/predict/stuck");
        if let Some(milliseconds) = header {
            request = request.header("x-deadline-ms", milliseconds);
        }
        let start = tokio::time::Instant::now();
        server.send(request.body(Body::from("x")).unwrap()).await.problem(504);
        let waited = start.elapsed().as_secs_f64();
        assert!((waited - seconds).abs() < 0.1, "{header:?} {waited}");
    }
    for bad in ["0", "-1", "soon", "1.5"] {
        let request = Request::post(PATH).header("x-deadline-ms", bad);
        let got = server.send(request.body(Body::from("x")).unwrap()).await;
        assert_eq!(got.problem(400)["errors"][0]["pointer"], "/headers/x-deadline-ms");
    }
    let text = server.metrics().await;
    assert!(
        text.contains("maas_requests_total{model=\"stuck\",version=\"3\",outcome=\"timeout\"} 3")
    );
}

#[tokio::test]
async fn failures_of_models_have_the_same_face() {
    let server = Server::new();
    let got = server.post("/v1/predict/full", "audio/wav", "x").await;
    got.problem(503);
    assert_eq!(got.header("retry-after"), "3");
    let got = server.post("/v1/predict/panics", "image/png", "x").await;
    assert!(!got.text.contains("told to"), "a panic's text is ours alone");
    got.problem(500);

    server.registry.put(unready("cold", State::Loading, false));
    server.registry.put(unready("broken", State::Failed, false));
    for (name, wait) in [("cold", "1"), ("broken", "60")] {
        let got = server.post(&format!("/v1/predict/{name}"), "image/png", "x").await;
        got.problem(503);
        assert_eq!(got.header("retry-after"), wait);
    }
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

#[tokio::test]
async fn keys_open_what_they_are_for() {
    let hash = |secret: &str| {
        use sha2::Digest as _;
        Digest::new(sha2::Sha256::digest(secret).into())
    };
    let keys = format!("{} inference\n{} metrics", hash("predict"), hash("watch"));
    let admin = Key::new(hash("rule"), vec![Scope::Admin], "admin");
    let access = Access::new(keys.parse().unwrap(), Some(admin));
    let server = Server::with(access, limits());
    for (path, shown, status) in [
        ("/v1/models", None, 401),
        ("/v1/models", Some("Bearer wrong"), 401),
        ("/v1/models", Some("Basic predict"), 401),
        ("/v1/models", Some("Bearer watch"), 403),
        ("/v1/models", Some("bearer predict"), 200),
        ("/metrics", None, 401),
        ("/metrics", Some("Bearer predict"), 403),
        ("/metrics", Some("Bearer watch"), 200),
        ("/readyz", None, 200),
        ("/v1/admin/drain", Some("Bearer rule"), 404),
    ] {
        let mut request = Request::get(path);
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        let got = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.status.as_u16(), status, "{path} {shown:?}");
        assert_eq!(got.headers.contains_key("www-authenticate"), status == 401);
        if status > 400 {
            got.problem(status);
        }
    }
}

async fn ask_admin(server: &Server, method: Method, path: &str, key: Option<&str>) -> Got {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Body::empty()).unwrap();
    Got::from(server.admin.clone().oneshot(request).await.unwrap()).await
}

#[tokio::test]
async fn draining_needs_a_key_and_leaves_serving_alone() {
    use sha2::Digest as _;
    let digest = Digest::new(sha2::Sha256::digest("rule").into());
    let key = Key::new(digest, vec![Scope::Admin], "admin");
    let server = Server::with(Access::new(crate::access::Keys::default(), Some(key)), limits());
    let drain = "/v1/admin/drain";
    ask_admin(&server, Method::POST, drain, None).await.problem(401);
    assert_eq!(server.get("/readyz").await.status, 200);

    assert_eq!(ask_admin(&server, Method::POST, drain, Some("rule")).await.status, 200);
    for router in [&server.main, &server.admin] {
        let request = Request::get("/readyz?verbose").body(Body::empty()).unwrap();
        let got = Got::from(router.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(got.status, 503);
        assert!(got.text.contains("an admin asked"), "{}", got.text);
    }
    let answer = server.post(PATH, "image/png", "x").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), "");

    assert_eq!(ask_admin(&server, Method::DELETE, drain, Some("rule")).await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(ask_admin(&server, Method::GET, "/metrics", None).await.status, 200);
    ask_admin(&server, Method::POST, PATH, Some("rule")).await.problem(404);
}

#[tokio::test]
async fn probes_tell_the_truth() {
    let server = Server::new();
    for path in ["/livez", "/readyz", "/startupz"] {
        let got = server.get(path).await;
        assert_eq!((got.status, got.text.as_str()), (StatusCode::OK, "ok\n"), "{path}");
        let head = Request::head(path).body(Body::empty()).unwrap();
        let got = server.send(head).await;
        assert_eq!((got.status, got.text.as_str()), (StatusCode::OK, ""), "{path}");
    }
    server.registry.put(unready("broken", State::Failed, false));
    assert_eq!(server.get("/readyz").await.status, 200, "nobody requires it");
    server.registry.put(unready("broken", State::Failed, true));
    assert_eq!(server.get("/readyz").await.status, 503);
    let verbose = server.get("/readyz?verbose").await.text;
    assert!(verbose.contains("broken/3: the weights are missing"), "{verbose}");
    assert_eq!(server.get("/startupz").await.status, 200);
    assert_eq!(server.get("/livez").await.status, 200);

    server.registry.put(unready("broken", State::Loading, true));
    assert_eq!(server.get("/startupz").await.status, 503);
}

#[tokio::test]
async fn a_server_on_its_way_out_serves_and_says_close() {
    let server = Server::new();
    server.stage.send_replace(Stage::Draining);
    assert_eq!(server.get("/readyz").await.status, 503);
    let got = server.post(PATH, "image/png", "x").await;
    assert_eq!((got.status, got.header("connection")), (StatusCode::OK, "close"));
    let request = Request::get("/livez").version(axum::http::Version::HTTP_2);
    let got = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(got.header("connection"), "", "HTTP/2 has no such header");

    server.stage.send_replace(Stage::Cut);
    let got = server.post("/v1/predict/stuck", "image/png", "x").await;
    got.problem(503);
}

#[tokio::test]
async fn a_chunked_request_ends_its_connection() {
    let server = Server::new();
    let request = Request::post(PATH).header("transfer-encoding", "chunked");
    let got = server.send(request.body(Body::from("x")).unwrap()).await;
    assert_eq!((got.status, got.header("connection")), (StatusCode::OK, "close"));
}

#[tokio::test]
async fn models_are_shown_with_their_state() {
    let server = Server::new();
    server.registry.put(unready("broken", State::Failed, false));
    let list = server.get("/v1/models").await.value();
    let entries = list["data"].as_array().unwrap();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[0]["id"], "broken");
    assert_eq!(entries[0]["state"], "failed");
    assert_eq!(entries[0]["reason"], "the weights are missing");
    assert_eq!(entries[0]["loaded"], false);
    assert_eq!(entries[1]["id"], "echo");
    assert_eq!(entries[1]["device"], "cpu");
    assert_eq!(entries[1]["card"]["metrics"]["accuracy"], 0.9);

    let one = server.get("/v1/models/talker").await.value();
    assert_eq!(one["versions"][0]["version"], 3);
    let example = "curl -d 'In the beginning' http://127.0.0.1:8080/v1/predict/talker";
    assert_eq!(one["example"], example);
    server.get("/v1/models/nothing").await.problem(404);
    server.get("/v1/models/%2e%2e").await.problem(404);
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
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
    let guard = tracing::subscriber::set_default(log);
    let server = Server::new();
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
