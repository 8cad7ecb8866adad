//! The Open Inference Protocol over REST, on models that do as they are told.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::http::testing::{Got, Server};

const INFER: &str = "/v2/models/echo/infer";

fn input(data: &Value) -> Value {
    json!({"inputs": [{"name": "input", "shape": [2, 2], "datatype": "FP32", "data": data}]})
}

/// A request of JSON and the bytes behind it.
async fn binary(server: &Server, json: &Value, bytes: &[u8]) -> Got {
    let json = json.to_string();
    let request = Request::post(INFER)
        .header("inference-header-content-length", json.len())
        .header("content-type", "application/octet-stream")
        .body(Body::from([json.as_bytes(), bytes].concat()));
    server.send(request.unwrap()).await
}

/// Checks that it was refused in the protocol's shape, and gives the text.
#[track_caller]
fn refused(got: &Got, status: u16) -> String {
    assert_eq!(got.status.as_u16(), status, "{got:?}");
    assert_eq!(got.header("content-type"), "application/json");
    assert!(got.bytes.len() < 4096);
    let value = got.value();
    assert_eq!(value.as_object().unwrap().len(), 1, "{value}");
    value["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_is_tensors_with_their_receipt() {
    let server = Server::new();
    for data in [json!([0.5, 1, -2, 3e2]), json!([[0.5, 1], [-2, 3e2]])] {
        let got = server.json(INFER, &input(&data).to_string()).await;
        let value = got.value();
        assert_eq!(value["model_name"], "echo");
        assert_eq!(value["model_version"], "3");
        assert_eq!(value["id"], got.header("x-request-id"));
        assert_eq!(value["parameters"]["maas_digest"], "ab".repeat(32));
        assert_eq!(value["parameters"]["maas_infer_us"], 3000);
        let output = json!([{
            "name": "output", "datatype": "FP32", "shape": [2, 2], "data": [0.25, 0.5, 0.25, 0.5]
        }]);
        assert_eq!(value["outputs"], output);
    }
}

#[tokio::test]
async fn data_may_come_before_what_says_what_it_is() {
    let server = Server::new();
    let body = r#"{"outputs": [], "inputs": [{"data": [[1, 2]], "parameters": {}, "shape": [1, 2],
                   "datatype": "INT8", "name": "input"}], "id": "mine", "parameters": {"priority": 1}}"#;
    let value = server.json(INFER, body).await.value();
    assert_eq!(value["id"], "mine");
    assert_eq!(value["outputs"][0]["shape"], json!([1, 2]));
}

#[tokio::test]
async fn tensors_come_and_go_as_bytes() {
    let server = Server::new();
    let head = |size: usize| {
        json!({
            "inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP16",
                        "parameters": {"binary_data_size": size}}],
            "parameters": {"binary_data_output": true},
        })
    };
    let got = binary(&server, &head(4), &[0, 0x3c, 0, 0x40]).await;
    assert_eq!(
        (got.status.as_u16(), got.header("content-type")),
        (200, "application/octet-stream")
    );
    let length: usize = got.header("inference-header-content-length").parse().unwrap();
    let json: Value = serde_json::from_slice(&got.bytes[..length]).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert!(json["outputs"][0].get("data").is_none());
    assert_eq!(got.bytes[length..], [0, 0, 0x80, 0x3e, 0, 0, 0, 0x3f]);
    for (size, bytes) in [(3, 4), (5, 4), (4, 5), (4, 3), (usize::MAX >> 12, 4)] {
        refused(&binary(&server, &head(size), &vec![0; bytes]).await, 400);
    }
}

#[tokio::test]
async fn a_body_of_bytes_alone_is_the_one_input() {
    let server = Server::new();
    let send = |bytes: usize| {
        let request = Request::post(INFER).header("inference-header-content-length", 0);
        server.send(request.body(Body::from(vec![0_u8; bytes])).unwrap())
    };
    let got = send(8).await;
    assert_eq!(
        (got.status.as_u16(), got.header("content-type")),
        (200, "application/octet-stream")
    );
    refused(&send(7).await, 400);
    refused(&send(0).await, 400);
}

#[tokio::test]
async fn the_best_classes_have_their_labels() {
    let server = Server::new();
    let mut body = input(&json!([1, 2, 3, 4]));
    body["outputs"] = json!([{"name": "output", "parameters": {"classification": 1}}]);
    let value = server.json(INFER, &body.to_string()).await.value();
    let output = json!([{
        "name": "output", "datatype": "BYTES", "shape": [2, 1], "data": ["0.5:1:yes", "0.5:1:yes"]
    }]);
    assert_eq!(value["outputs"], output);
}

#[tokio::test]
async fn elements_of_bytes_are_files() {
    let server = Server::new();
    let body = |data: &str, parameters: Value| {
        json!({"inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": [data],
                           "parameters": parameters}]})
        .to_string()
    };
    let got = server.json(INFER, &body("abc", json!({}))).await;
    assert_eq!(got.status, 200, "{got:?}");
    let got = server.json(INFER, &body("YWJj", json!({"content_type": "base64"}))).await;
    assert_eq!(got.status, 200, "{got:?}");
    refused(&server.json(INFER, &body("a b", json!({"content_type": "base64"}))).await, 400);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: one row a fault")]
async fn what_is_not_usable_is_refused_in_the_protocols_shape() {
    let server = Server::new();
    let tensor = |name: &str, shape: Value, datatype: &str, data: Value| json!({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]});
    let good = json!([1, 2]);
    for (body, word) in [
        (json!({}), "/inputs"),
        (json!({"inputs": []}), "the input input"),
        (json!({"inputs": 7}), "a list"),
        (json!({"inputs": [7]}), "an object"),
        (json!({"inputs": [{"shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}), "name"),
        (tensor("other", json!([1, 2]), "FP32", good.clone()), "each input of echo"),
        (tensor("input", json!([]), "FP32", good.clone()), "sizes"),
        (tensor("input", json!([-1, 2]), "FP32", good.clone()), "a size of -1"),
        (tensor("input", json!([0, 2]), "FP32", json!([])), "a size of 0"),
        (tensor("input", json!([i64::MAX, 4]), "FP32", good.clone()), "elements"),
        (tensor("input", json!([1.5, 2]), "FP32", good.clone()), "1.5"),
        (tensor("input", json!([1, 1, 1, 1, 1, 1, 1, 1, 1]), "FP32", good.clone()), "sizes"),
        (tensor("input", json!([1, 2]), "fp32", good.clone()), "FP32"),
        (tensor("input", json!([1, 2]), "FLOAT", good.clone()), "FP32"),
        (tensor("input", json!([1, 2]), "FP16", good.clone()), "bytes"),
        (tensor("input", json!([1, 2]), "FP32", json!([1])), "2 elements"),
        (tensor("input", json!([1, 2]), "FP32", json!([1, 2, 3])), "2 elements"),
        (tensor("input", json!([1, 2]), "FP32", json!([[1], [2]])), "lists as shape says"),
        (tensor("input", json!([1, 2]), "FP32", json!([1, [2]])), "equal lengths"),
        (tensor("input", json!([1, 2]), "FP32", json!([1, "2"])), "a number"),
        (tensor("input", json!([1, 2]), "FP32", json!([1, 1e39])), "32-bit float"),
        (tensor("input", json!([1, 2]), "FP32", json!(1)), "a list"),
        (tensor("input", json!([1, 2]), "UINT8", json!([1, 256])), "255"),
        (tensor("input", json!([1, 2]), "UINT8", json!([1, -1])), "255"),
        (tensor("input", json!([1, 2]), "INT64", json!([1, 0.5])), "whole number"),
        (tensor("input", json!([1, 2]), "BOOL", json!([true, 1])), "true or false"),
        (tensor("input", json!([1, 2]), "BYTES", json!(["a", "b"])), "[batch, 1]"),
        (tensor("input", json!([1]), "BYTES", json!([1])), "a string"),
        (tensor("input", json!([1, 3]), "FP32", json!([1, 2, 3])), "[batch, 2]"),
        (tensor("input", json!([5, 2]), "FP32", json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 0])), "batch of"),
    ] {
        let got = server.json(INFER, &body.to_string()).await;
        let status = if word == "elements" || word == "batch of" { 413 } else { 400 };
        let text = refused(&got, status);
        assert!(text.contains(word), "{word} in {text} for {body}");
    }
    let with = |key: &str, value: Value| {
        let mut body = input(&json!([1, 2, 3, 4]));
        body[key] = value;
        body.to_string()
    };
    for (body, word) in [
        (with("outputs", json!([{"name": "scores"}])), "output"),
        (with("outputs", json!([{"name": "output"}, {"name": "output"}])), "at most once"),
        (with("outputs", json!([{"name": "output", "parameters": {"classification": 0}}])), "1 to"),
        (with("outputs", json!([{"name": "output", "parameters": {"colour": 1}}])), "binary_data"),
        (with("parameters", json!({"colour": 1})), "top_k"),
        (with("parameters", json!({"sequence_id": 1})), "top_k"),
        (with("parameters", json!({"priority": 9})), "0 to 3"),
        (with("id", json!(7)), "a string"),
        (with("model_name", json!("talker")), "the path says it"),
        (with("model_version", json!("4")), "the path says it"),
        (with("id", json!("x".repeat(300))), "256"),
        (with("colour", json!(1)), "outputs"),
        (r#"{"inputs": [], "inputs": []}"#.to_owned(), "at most once"),
        ("[".repeat(60_000), "an object"),
        (format!(r#"{{"inputs": [{}"#, "[".repeat(60_000)), "an object"),
        (r#"{"inputs": [{"name": "input", "data": [["#.to_owned() + &"[".repeat(50_000), "JSON"),
        ("{\"inputs\": [}".to_owned(), "JSON"),
    ] {
        let text = refused(&server.json(INFER, &body).await, 400);
        assert!(text.contains(word), "{word} in {text}");
    }
    let many: Vec<Value> = (0..65).map(|n| json!({"name": n.to_string()})).collect();
    refused(&server.json(INFER, &with("outputs", json!(many))).await, 400);
    refused(&server.post(INFER, "application/json", &b"{\"inputs\": \"\xff\"}"[..]).await, 400);
    refused(&server.post(INFER, "image/png", "x").await, 415);
    refused(&server.json("/v2/models/nothing/infer", "{}").await, 404);
    refused(&server.json("/v2/models/echo/versions/9/infer", "{}").await, 404);
    refused(&server.json("/v2/models/..%2fetc/infer", "{}").await, 404);
    refused(&server.get(INFER).await, 405);
    refused(&server.get("/v2/nothing").await, 404);
    refused(&server.json("/v2/models/panics/infer", &with("id", json!("a"))).await, 500);
    let full = server.json(
        "/v2/models/full/infer",
        r#"{"inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}"#,
    );
    let full = full.await;
    refused(&full, 503);
    assert_eq!(full.header("retry-after"), "3");
}

#[tokio::test]
async fn shared_memory_and_traces_are_not_offered() {
    let server = Server::new();
    for path in ["/v2/systemsharedmemory/status", "/v2/trace/setting"] {
        refused(&server.get(path).await, 501);
    }
    let body = json!({"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32",
        "parameters": {"shared_memory_region": "a", "shared_memory_byte_size": 8}}]});
    let text = refused(&server.json(INFER, &body.to_string()).await, 400);
    assert!(text.contains("shared memory"), "{text}");
}

#[tokio::test]
async fn models_say_what_they_read_and_what_they_have_done() {
    let server = Server::new();
    let value = server.get("/v2/models/echo").await.value();
    assert_eq!(value["inputs"][0], json!({"name": "input", "datatype": "FP32", "shape": [-1, 2]}));
    assert_eq!(value["versions"], json!(["3"]));
    assert_eq!(
        server.get("/v2/models/echo/ready").await.value(),
        json!({"name": "echo", "ready": true})
    );
    refused(&server.get("/v2/models/nothing/ready").await, 404);
    let config = server.get("/v2/models/talker/config").await.value();
    assert_eq!(
        config["input"][0],
        json!({"name": "input", "data_type": "TYPE_STRING", "dims": [1]})
    );
    assert_eq!(config["max_batch_size"], 4);
    server.json(INFER, &input(&json!([1, 2, 3, 4])).to_string()).await;
    server.json(INFER, "{}").await;
    let stats = server.get("/v2/models/echo/stats").await.value();
    let stats = &stats["model_stats"][0]["inference_stats"];
    assert_eq!((&stats["success"]["count"], &stats["fail"]["count"]), (&json!(1), &json!(1)));
    assert_eq!(stats["compute_infer"], json!({"count": 1, "ns": 3_000_000}));
    let all = server.get("/v2/models/stats").await.value();
    assert_eq!(all["model_stats"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_text_is_generated_whole_or_piece_by_piece() {
    let server = Server::new();
    let path = "/v2/models/talker/generate_stream";
    let got = server.json(path, r#"{"id": "a", "text_input": "x"}"#).await;
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    let events: Vec<Value> = got
        .text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(events.len(), 3, "{}", got.text);
    assert_eq!(
        events[0],
        json!({
            "id": "a", "model_name": "talker", "model_version": "3", "text_output": "a"
        })
    );
    assert_eq!(events[2]["details"]["finish_reason"], "length");
    for bad in ["{}", r#"{"text_input": 1}"#, r#"{"text_input": "x", "text_input": "y"}"#, "", "["]
    {
        refused(&server.json(path, bad).await, 400);
    }
    refused(&server.json("/v2/models/echo/generate", r#"{"text_input": "x"}"#).await, 400);
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    let server = Server::new();
    let body = input(&json!([1, 2, 3, 4])).to_string();
    let said = refused(&server.json(&format!("{INFER}?top_k=1"), &body).await, 400);
    assert!(said.starts_with("/query"), "{said}");
    let text = r#"{"text_input": "x"}"#;
    refused(&server.json("/v2/models/talker/generate?max_tokens=5", text).await, 400);
    let completion = r#"{"model": "talker", "prompt": "x"}"#;
    let got = server.json("/v1/completions?temperature=0", completion).await;
    assert_eq!(got.status.as_u16(), 400, "{got:?}");
    for (name, word) in [("top_k", "classification"), ("stream", "generate_stream")] {
        let mut body = input(&json!([1, 2, 3, 4]));
        body["parameters"] = json!({ name: if name == "stream" { json!(true) } else { json!(1) } });
        let said = refused(&server.json(INFER, &body.to_string()).await, 400);
        assert!(said.contains(word), "{said}");
    }
}

#[tokio::test]
async fn many_elements_are_refused_before_they_are_read() {
    let server = Server::new();
    let body = |shape: usize| {
        let head = r#"{"inputs": [{"name": "input", "datatype": "BYTES", "shape": ["#;
        format!("{head}{shape}], \"data\": [{}\"\"]}}]}}", "\"\",".repeat(1000))
    };
    let said = refused(&server.json(INFER, &body(1001)).await, 413);
    assert!(said.starts_with("/inputs/0/shape"), "{said}");
    // No more is read than shape says.
    let said = refused(&server.json(INFER, &body(1)).await, 400);
    assert!(said.contains("1 elements, the product of shape, got more"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes behind any length of JSON are answered or refused, and never a fault of ours.
    #[test]
    fn any_bytes_are_answered_or_refused(
        json in prop_oneof![
            any::<String>(),
            Just(r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#.to_owned()),
            r#"\{"inputs":\[\{"name":"input","shape":\[-?[0-9]{1,20}(,-?[0-9]{1,20}){0,9}\],"datatype":"(FP32|BYTES|UINT8)","data":\[[0-9,.e\[\]-]{0,30}\]\}\]\}"#,
        ],
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        length in prop::option::of(0_usize..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::new();
            let mut request = Request::post(INFER);
            if let Some(length) = length {
                request = request.header("inference-header-content-length", length);
            }
            let body = Body::from([json.as_bytes(), bytes.as_slice()].concat());
            let got = server.send(request.body(body).unwrap()).await;
            prop_assert!(got.status.is_success() || got.status.is_client_error(), "{:?}", got);
            Ok(())
        })?;
    }
}
