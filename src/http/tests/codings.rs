//! Packed bodies, both ways.

use axum::body::Body;
use axum::http::{Request, header};

use super::PATH;
use crate::http::coding::Coding;
use crate::http::testing::{Got, Server, limits};

async fn post(server: &Server, coding: &str, body: Vec<u8>) -> Got {
    let request = Request::post(PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, coding);
    server.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn packed_bodies_are_read_within_the_limits_of_plain_ones() {
    let server = Server::new();
    let most = limits().body_bytes_max;
    let document = |length: usize| {
        let text = "{\"text\": \"a\"}";
        format!("{}{text}", " ".repeat(length - text.len())).into_bytes()
    };
    for (name, coding) in [("gzip", Coding::Gzip), ("Deflate", Coding::Deflate)] {
        let whole = coding.pack(&document(most)).unwrap();
        let got = post(&server, name, whole.clone()).await;
        assert_eq!(got.value()["predictions"][0]["label"], "/text: Text(\"a\") []");
        post(&server, name, coding.pack(&document(most + 1)).unwrap()).await.problem(413);
        post(&server, name, coding.pack(&vec![b' '; 4 << 20]).unwrap()).await.problem(413);
        post(&server, name, whole[..whole.len() - 2].to_vec()).await.problem(422);
    }
    for other in ["br", "gzip, gzip", "x"] {
        let got = post(&server, other, document(40)).await;
        assert_eq!(got.problem(415)["errors"][0]["pointer"], "/headers/content-encoding");
    }
}

#[tokio::test]
async fn answers_are_packed_when_asked_and_large() {
    let server = Server::new();
    let get = async |path: &str, accepted: &str| {
        let request = Request::get(path).header(header::ACCEPT_ENCODING, accepted);
        let response = server.main.clone();
        tower::ServiceExt::oneshot(response, request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let plain = Got::from(get("/v1/models", "br").await).await;
    assert_eq!((plain.header("vary"), plain.header("content-encoding")), ("accept-encoding", ""));
    for (name, coding) in [("gzip", Coding::Gzip), ("deflate", Coding::Deflate)] {
        let packed = get("/v1/models", name).await;
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], name);
        assert_eq!(packed.headers()[header::VARY], "accept-encoding");
        let length: usize =
            packed.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
        let bytes = axum::body::to_bytes(packed.into_body(), 1 << 20).await.unwrap();
        assert_eq!(bytes.len(), length);
        let unpacked = coding.unpack(&bytes, 1 << 20, |_| Ok(())).unwrap();
        assert_eq!(String::from_utf8(unpacked).unwrap(), plain.text);
    }
    let small = Got::from(get("/livez", "gzip").await).await;
    assert_eq!((small.text.as_str(), small.header("content-encoding")), ("ok\n", ""));
    let stream = Request::post("/v1/predict/talker").header(header::ACCEPT_ENCODING, "gzip");
    let stream = server.send(stream.body(Body::from("x")).unwrap()).await;
    assert_eq!((stream.status.as_u16(), stream.header("content-encoding")), (200, ""));
}
