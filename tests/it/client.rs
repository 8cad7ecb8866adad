//! The client for programs in Rust, and the verb that uses it.

use maas::client::{Client, ClientError, Input, Outcome, Piece};

use crate::support::{Server, maas, models};

fn boot() -> String {
    models().join("fashion/1/golden/boot.png").display().to_string()
}

#[tokio::test]
async fn a_program_asks_and_is_answered_with_a_receipt() {
    let server = Server::shipped().await;
    let client = Client::new(&server.http).unwrap();
    assert!(client.is_ready().await.unwrap());
    let known = client.models().await.unwrap();
    let kjv = known.iter().find(|model| model.id == "kjv").unwrap();
    assert_eq!((kjv.versions[0].version, kjv.versions[0].state.as_str()), (1, "ready"));

    let picture = Input::file(std::fs::read(boot()).unwrap());
    let answer = client.predict("fashion", picture.clone(), &[("top_k", "2")]).await.unwrap();
    assert_eq!((answer.model.as_str(), answer.version, answer.digest.len()), ("fashion", 1, 64));
    let [Outcome::Classes { predictions }] = answer.outcomes.as_slice() else {
        panic!("{answer:?}")
    };
    assert_eq!((predictions.len(), predictions[0].label.as_str()), (2, "Ankle boot"));

    let several = Input::json(&serde_json::json!({"text": ["In the ", "And "]}));
    let answer = client.predict("kjv@1", several, &[("max_tokens", "4")]).await.unwrap();
    assert_eq!(answer.outcomes.len(), 2);

    let refused = client.predict("fashion", picture, &[("top_k", "0")]).await.unwrap_err();
    let ClientError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!((refusal.status, refusal.errors[0].pointer.as_str()), (400, "/query/top_k"));
}

#[tokio::test]
async fn a_text_comes_piece_by_piece_and_then_whole() {
    let server = Server::shipped().await;
    let client = Client::new(&server.http).unwrap();
    let asked = [("max_tokens", "30"), ("seed", "7")];
    let mut pieces = client.stream("kjv", Input::text("In the "), &asked).await.unwrap();
    let (mut text, mut count, mut end) = (String::new(), 0, None);
    while let Some(piece) = pieces.next().await.unwrap() {
        match piece {
            Piece::Text { text: more, .. } => {
                text.push_str(&more);
                count += 1;
            }
            Piece::Whole(whole) => end = Some(whole),
        }
    }
    let end = end.expect("an end");
    let Outcome::Generated { text: whole, .. } = &end.outcomes[0] else { panic!("{end:?}") };
    assert_eq!(*whole, text);
    assert!(count > 10, "{count}");
    assert!(client.stream("kjv", Input::text(""), &asked).await.is_err());
}

#[tokio::test]
async fn the_verb_prints_what_people_want_to_read() {
    let server = Server::shipped().await;
    let ask = |arguments: &[&str]| {
        let out = maas().args(["predict", "--url", &server.http]).args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.success(), text(out.stdout), text(out.stderr))
    };
    let (good, out, receipt) = ask(&["fashion", &boot(), "-p", "top_k=1"]);
    assert!(good && out.ends_with("  Ankle boot\n"), "{out}");
    assert!(receipt.starts_with("fashion/1 "), "{receipt}");
    let verse = ["kjv", "--text", "In the ", "-p", "seed=7", "-p", "max_tokens=20"];
    let (good, whole, _) = ask(&verse);
    let (streams, streamed, _) = ask(&[&verse[..], &["--stream"]].concat());
    assert!(good && streams && whole == streamed && whole.len() > 10, "{whole:?} {streamed:?}");
    let (good, _, said) = ask(&["fashion", &boot(), "-p", "colour=red"]);
    assert!(!good && said.contains("top_k"), "{said}");
    let (good, _, said) = ask(&["nothing", &boot()]);
    assert!(!good && said.contains("fashion"), "{said}");
}
