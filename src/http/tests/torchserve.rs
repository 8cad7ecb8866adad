//! The routes of TorchServe.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::domain::State;
use crate::http::testing::{Server, unready};

#[tokio::test]
async fn its_clients_find_what_they_know() {
    let server = Server::new();
    assert_eq!(server.get("/ping").await.value(), json!({"status": "Healthy"}));
    for path in ["/predictions/echo", "/predictions/echo/3"] {
        let upload = Request::put(path).body(Body::from("JPEG")).unwrap();
        let got = server.send(upload).await;
        assert_eq!(got.value(), json!({"/body: Opaque(b\"JPEG\") []": 0.5}), "{got:?}");
        assert_eq!(got.header("x-model-version"), "3");
    }
    let form =
        "--x\r\ncontent-disposition: form-data; name=\"data\"; filename=\"a\"\r\n\r\nJPEG\r\n--x--";
    let got = server.post("/predictions/echo", "multipart/form-data; boundary=x", form).await;
    assert_eq!(got.value(), json!({"/data: Opaque(b\"JPEG\") []": 0.5}));

    let page = server.get("/models?limit=2").await.value();
    assert_eq!(page["models"][0], json!({"modelName": "echo", "modelUrl": "echo/3"}));
    assert_eq!(page["nextPageToken"], "2");
    let last = server.get("/models?limit=2&next_page_token=6").await.value();
    assert_eq!(last, json!({"models": [{"modelName": "talker", "modelUrl": "talker/3"}]}));
    let described = server.get("/models/echo").await.value();
    assert_eq!(
        (&described[0]["modelVersion"], &described[0]["status"]),
        (&json!("3"), &json!("READY"))
    );
    server.registry.put(unready("broken", State::Failed, true));
    assert_eq!(server.get("/ping").await.status, 503);
}

#[tokio::test]
async fn its_clients_are_refused_as_they_know_it() {
    let server = Server::new();
    for (path, status, kind) in [
        ("/predictions/nothing", 404, "ModelNotFoundException"),
        ("/predictions/echo/9", 404, "ModelNotFoundException"),
        ("/predictions/full", 503, "ServiceUnavailableException"),
        ("/predictions/panics", 500, "InternalServerException"),
        ("/predictions/echo?colour=1", 400, "BadRequestException"),
    ] {
        let got = server.post(path, "image/png", "x").await;
        assert_eq!(
            (got.status.as_u16(), got.value()["code"].as_u64()),
            (status, Some(status.into()))
        );
        assert_eq!(got.value()["type"], kind, "{got:?}");
    }
    let wrong_method = server.get("/predictions/echo").await;
    assert_eq!(wrong_method.status, 405);
    assert_eq!(wrong_method.value()["code"], 405, "{wrong_method:?}");
    for bad in ["/models?limit=0", "/models?limit=x", "/models?colour=1"] {
        assert_eq!(server.get(bad).await.status, 400, "{bad}");
    }
}
