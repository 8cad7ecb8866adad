//! Keys, probes, and the ways out.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt;

use super::PATH;
use crate::access::{Access, Key, Keys, Scope};
use crate::config::HttpSettings;
use crate::domain::{Digest, State};
use crate::http::Stage;
use crate::http::testing::{Got, Server, limits, unready};

fn hash(secret: &str) -> Digest {
    use sha2::Digest as _;
    Digest::new(sha2::Sha256::digest(secret).into())
}

#[tokio::test]
async fn keys_open_what_they_are_for() {
    let keys = format!("{} inference\n{} metrics", hash("predict"), hash("watch"));
    let ruler = Key::new(hash("rule"), vec![Scope::Admin], "admin");
    let access = Access::new(keys.parse().unwrap(), Some(ruler));
    let server = Server::with(access, limits());
    for (path, header, status) in [
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
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let got = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.status.as_u16(), status, "{path} {header:?}");
        assert_eq!(got.headers.contains_key("www-authenticate"), status == 401);
        match path {
            "/v1/models" if status > 400 => {
                assert!(got.value()["error"]["code"].is_string(), "{got:?}");
            }
            _ if status > 400 => drop(got.problem(status)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_caller_over_its_limit_is_refused_and_others_are_not() {
    let keys = format!("{} inference one\n{} inference two", hash("one"), hash("two"));
    let access = Access::new(keys.parse().unwrap(), None);
    let server = Server::with(access, HttpSettings { caller_requests_per_s_max: 1, ..limits() });
    let predict = async |key: &str| {
        let request = Request::post(PATH)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "text/plain");
        server.send(request.body(Body::from("x")).unwrap()).await
    };
    assert_eq!(predict("one").await.status, StatusCode::OK);
    let refused = predict("one").await;
    refused.problem(429);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(predict("two").await.status, StatusCode::OK);
    // Looking around is no prediction.
    let request = Request::get("/v1/models").header("authorization", "Bearer one");
    assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
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
    let key = Key::new(hash("rule"), vec![Scope::Admin], "admin");
    let server = Server::with(Access::new(Keys::default(), Some(key)), limits());
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
