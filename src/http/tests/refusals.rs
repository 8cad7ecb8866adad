//! What is refused, and how.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures_util::stream;
use tower::ServiceExt;

use super::PATH;
use crate::domain::State;
use crate::http::testing::{Server, limits, unready};

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
    ] {
        server.post(path, "text/plain", "x").await.problem(404);
    }
    let got = server.post("/v1/predict/nothing", "text/plain", "x").await;
    assert!(got.text.contains("echo, follows, full, hears, panics, stuck, talker"), "{}", got.text);
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let server = Server::new();
    for (method, path, allowed) in [
        (Method::GET, PATH, "POST"),
        (Method::HEAD, PATH, "POST"),
        (Method::PUT, "/metrics", "GET, HEAD"),
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

    server.post(PATH, "image/png", "").await.problem(400);
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
    for (name, wait, kind) in [("cold", "1", "loading"), ("broken", "60", "unavailable")] {
        let got = server.post(&format!("/v1/predict/{name}"), "image/png", "x").await;
        assert_eq!(got.problem(503)["type"], format!("urn:maas:error:{kind}"));
        assert_eq!(got.header("retry-after"), wait);
    }
    let asked = r#"{"model": "cold", "prompt": "x"}"#;
    let got = server.json("/v1/completions", asked).await;
    assert_eq!(got.value()["error"]["code"], "model_loading", "{got:?}");
}
