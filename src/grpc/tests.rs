//! The gRPC router from outside, on models that do as they are told.

use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use proptest::prelude::*;
use prost::Message;
use tower::ServiceExt;

use crate::grpc::pb::infer_parameter::ParameterChoice;
use crate::grpc::pb::model_infer_request::InferInputTensor;
use crate::grpc::pb::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::grpc::router;
use crate::http::testing::Server;

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A call's status, its message, and what came before.
struct Got {
    code: u32,
    message: String,
    body: Vec<u8>,
}

/// Sends bytes as one message.
async fn call(server: &Server, path: &str, message: &[u8], timeout: Option<&str>) -> Got {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    raw(server, path, frame, timeout).await
}

async fn raw(server: &Server, path: &str, frame: Vec<u8>, timeout: Option<&str>) -> Got {
    send(server, path, Body::from(frame), timeout).await
}

async fn send(server: &Server, path: &str, body: Body, timeout: Option<&str>) -> Got {
    let mut request = Request::post(path).header("content-type", "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    answered(server, request.body(body).unwrap()).await
}

async fn answered(server: &Server, request: Request<Body>) -> Got {
    let router = router(&server.app).unwrap();
    let response = router.oneshot(request).await.unwrap();
    // The status stands in the headers where nothing follows, else behind the messages.
    let (mut status, mut answer) = (response.headers().clone(), response.into_body());
    let mut body = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(data) => body.extend(data),
            Err(trailers) => status.extend(trailers.into_trailers().unwrap()),
        }
    }
    let text = |name: &str| status.get(name).map(|value| value.to_str().unwrap().to_owned());
    let code = text("grpc-status").unwrap().parse().unwrap();
    Got { code, message: text("grpc-message").unwrap_or_default(), body }
}

fn request(values: &[f32]) -> ModelInferRequest {
    let contents = InferTensorContents { fp32_contents: values.to_vec(), ..Default::default() };
    ModelInferRequest {
        model_name: "echo".into(),
        id: "mine".into(),
        inputs: vec![InferInputTensor {
            name: "input".into(),
            datatype: "FP32".into(),
            shape: vec![1, 2],
            contents: Some(contents),
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn infer(server: &Server, request: &ModelInferRequest) -> Got {
    call(server, INFER, &request.encode_to_vec(), None).await
}

#[tokio::test]
async fn numbers_come_as_they_are_or_as_bytes_and_so_do_answers() {
    let server = Server::new();
    let typed = request(&[1.0, 2.0]);
    let mut raw = typed.clone();
    raw.inputs[0].contents = None;
    raw.raw_input_contents = vec![vec![0_u8; 8].into()];
    for (asked, is_raw) in [(typed, false), (raw, true)] {
        let got = infer(&server, &asked).await;
        assert_eq!(got.code, 0, "{}", got.message);
        let answer = ModelInferResponse::decode(&got.body[5..]).unwrap();
        assert_eq!((answer.id.as_str(), answer.model_version.as_str()), ("mine", "3"));
        let digest = &answer.parameters["maas_digest"].parameter_choice;
        assert_eq!(*digest, Some(ParameterChoice::StringParam("ab".repeat(32))));
        let output = &answer.outputs[0];
        assert_eq!((output.datatype.as_str(), output.shape.as_slice()), ("FP32", &[1, 2][..]));
        if is_raw {
            assert_eq!(answer.raw_output_contents[0][..], [0, 0, 0x80, 0x3e, 0, 0, 0, 0x3f]);
        } else {
            assert_eq!(output.contents.as_ref().unwrap().fp32_contents, [0.25, 0.5]);
        }
    }
}

/// What is wrong with a request.
type Change = fn(&mut ModelInferRequest);

#[tokio::test]
async fn what_is_not_usable_is_refused_by_its_code() {
    let server = Server::new();
    let cases: [(Change, u32, &str); 11] = [
        (|r| r.model_name = "nothing".into(), 5, "echo"),
        (|r| r.model_version = "x".into(), 5, "integer"),
        (|r| r.model_name = "full".into(), 14, "full"),
        (|r| r.inputs.clear(), 3, "the input input"),
        (|r| r.inputs[0].datatype = "FLOAT".into(), 3, "FP32"),
        (|r| r.inputs[0].shape = vec![-1, 2], 3, "-1"),
        (|r| r.inputs[0].shape = vec![i64::MAX, 4], 8, "elements"),
        (|r| r.inputs[0].shape = vec![1, 3], 3, "3 elements"),
        (|r| r.raw_input_contents = vec![vec![0_u8; 8].into()], 3, "leave one"),
        (|r| r.raw_input_contents = vec![vec![0_u8; 8].into(); 2], 3, "one for each"),
        (
            |r| {
                let choice = Some(ParameterChoice::Int64Param(1));
                r.parameters.insert("colour".into(), InferParameter { parameter_choice: choice });
            },
            3,
            "top_k",
        ),
    ];
    for (change, code, word) in cases {
        let mut asked = request(&[1.0, 2.0]);
        change(&mut asked);
        if asked.model_name == "full" {
            asked.inputs[0].datatype = "BYTES".into();
            asked.inputs[0].shape = vec![1];
            let bytes_contents = vec![b"a".to_vec().into()];
            asked.inputs[0].contents =
                Some(InferTensorContents { bytes_contents, ..Default::default() });
        }
        let got = infer(&server, &asked).await;
        let message = got.message.replace("%20", " ");
        assert_eq!(got.code, code, "{word}: {message}");
        assert!(message.contains(word), "{word}: {message}");
    }
    let mut panics = request(&[1.0, 2.0]);
    panics.model_name = "panics".into();
    assert_eq!(infer(&server, &panics).await.code, 13);
    let unknown = call(&server, "/inference.GRPCInferenceService/Nothing", &[], None).await;
    assert_eq!(unknown.code, 12);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_what_would_take_longer() {
    let server = Server::new();
    let mut asked = request(&[1.0, 2.0]);
    asked.model_name = "stuck".into();
    let asked = asked.encode_to_vec();
    let began = tokio::time::Instant::now();
    let got = call(&server, INFER, &asked, Some("250m")).await;
    assert_eq!(got.code, 4, "{}", got.message);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(call(&server, INFER, &asked, Some("soon")).await.code, 3);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_come_whole_is_not_waited_for() {
    let server = Server::new();
    // The beginning of a message of nine bytes, and then nothing.
    let torn = || {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![0, 0, 0, 0, 9, 1])]);
        Body::from_stream(first.chain(futures_util::stream::pending()))
    };
    let began = tokio::time::Instant::now();
    let got = send(&server, INFER, torn(), Some("250m")).await;
    assert_eq!(got.code, 4, "{}", got.message);
    assert!(began.elapsed() < Duration::from_secs(1));
    let got = send(&server, INFER, torn(), None).await;
    assert_eq!(got.code, 4, "{}", got.message);
    assert!(got.message.contains("did%20not%20come%20whole"), "{}", got.message);
    // One message is all that the method takes: what may follow is not awaited.
    let message = request(&[1.0, 2.0]).encode_to_vec();
    let frame = [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()][..], &message].concat();
    // Nor do pieces without bytes end it.
    let whole = futures_util::stream::iter([Ok::<_, std::io::Error>(Vec::new()), Ok(frame)]);
    let open = Body::from_stream(whole.chain(futures_util::stream::pending()));
    assert_eq!(send(&server, INFER, open, None).await.code, 0);
    // A stream may begin whenever its caller likes, but each message must come whole.
    let streams = "/inference.GRPCInferenceService/ModelStreamInfer";
    let got = send(&server, streams, torn(), None).await;
    assert_eq!(got.code, 4, "{}", got.message);
}

#[tokio::test]
async fn what_a_message_unpacks_to_has_a_share_of_the_memory() {
    let server = Server::new();
    let ask = |bytes| {
        let message = ModelInferRequest {
            raw_input_contents: vec![vec![0; bytes].into()],
            ..request(&[1.0, 2.0])
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&message.encode_to_vec()).unwrap();
        let packed = encoder.finish().unwrap();
        let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
        let frame = [&[1][..], &length, &packed].concat();
        let request = Request::post(INFER).header("content-type", "application/grpc");
        let request = request.header("grpc-encoding", "gzip").body(Body::from(frame));
        answered(&server, request.unwrap())
    };
    // More than one unit of memory.
    let bytes = 100 << 10;
    let all = u32::try_from(server.app.bodies().available_permits()).unwrap();
    let others = server.app.bodies().try_acquire_many(all - 1).unwrap();
    let got = ask(bytes).await;
    assert_eq!(got.code, 14, "{}", got.message);
    assert!(got.message.contains("memory"), "{}", got.message);
    drop(others);
    assert_eq!(ask(bytes).await.code, 3, "numbers as well as bytes");
    let got = ask(1 << 20).await;
    assert_eq!(got.code, 8, "{}", got.message);
    assert!(got.message.contains("larger%20than%20this%20server"), "{}", got.message);
    assert_eq!(server.app.bodies().available_permits(), all as usize);
}

#[tokio::test]
async fn one_answer_is_not_asked_for_as_several() {
    let server = Server::new();
    for name in ["stream", "triton_enable_empty_final_response"] {
        let mut asked = request(&[1.0, 2.0]);
        let choice = Some(ParameterChoice::BoolParam(true));
        asked.parameters.insert(name.into(), InferParameter { parameter_choice: choice });
        let got = infer(&server, &asked).await;
        assert_eq!(got.code, 12, "{}", got.message);
        assert!(got.message.contains("ModelStreamInfer"), "{}", got.message);
    }
}

#[tokio::test]
async fn many_parts_are_refused_before_they_are_made() {
    let got = call(&Server::new(), INFER, &[0x2a, 0].repeat(1 << 12), None).await;
    assert_eq!(got.code, 8, "{}", got.message);
    assert!(got.message.contains("64%20tensors"), "{}", got.message);
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let server = Server::new();
    let garbage = call(&server, INFER, &[0xff; 9], None).await;
    assert_eq!(garbage.code, 3, "{}", garbage.message);
    assert!(garbage.message.contains("inference.proto"), "{}", garbage.message);
    // More than there is, more than is taken, and nothing.
    for frame in [vec![0, 0, 0, 0, 9, 1], vec![0, 0xff, 0xff, 0xff, 0xff], vec![]] {
        let got = raw(&server, INFER, frame.clone(), None).await;
        assert!(matches!(got.code, 3 | 8), "{frame:?}: {} {}", got.code, got.message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_message_is_answered_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(async { call(&Server::new(), INFER, &bytes, None).await });
        prop_assert!(matches!(got.code, 0 | 3 | 5 | 8 | 12), "{} {}", got.code, got.message);
    }
}
